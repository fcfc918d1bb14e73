"""Benchmark the export of a BERT classifier: Keras's operators against ours.

    make experiment NAME=benchmark_export
    make experiment NAME=benchmark_export ARGS="--preset=FOLDER --length=64"

The row `plain` is the classifier as Keras writes it down, attention as Einsum and
LayerNormalization and GELU in pieces; the row `flat` is what `export_model` makes of
it. All files are timed in turn on random tokens, in float32, beside TensorFlow. This
measures bytes and time, and how far the outputs are from Keras's; it says nothing of
accuracy.

Expected on 2 cores: 9 minutes with MiniLM and --rounds=3.
"""

import dataclasses

from tfcompress import entry_point
from tfcompress.runner.rows import Row, standard_targets
from tfcompress.runner.settings import RunSettings
from tfcompress.settings import check_at_least, setting


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings(RunSettings):
    """What the benchmark's flags say."""

    preset: str = setting("random:small", "As that of bert_baseline.")
    length: int = setting(128, "Tokens of a text, all of them real.")

    def __post_init__(self):
        super().__post_init__()
        check_at_least(self, 2, "length")


_NUM_TEXTS = 32
# A vocabulary for a random encoder.
_WORDS = tuple(f"word{number}" for number in range(1000))


def main(settings):
    """Runs the benchmark; returns the exit status."""
    from tfcompress.runner.experiment import run_experiment
    from tfcompress.runner.file_benchmark import file_benchmark

    length, seed = settings.length, settings.seed
    experiment = file_benchmark(
        "benchmark_export",
        make_rows(settings.formats),
        lambda: make_model(settings.preset, length, seed),
        lambda model: make_inputs(model, length, seed),
    )
    return run_experiment(experiment, settings)


def make_rows(formats):
    """Returns the two rows; `plain` is what the other is compared with."""
    targets = standard_targets(formats, ("dense",))
    common = {"trains": False, "is_timed": True, "targets": targets}
    return (
        Row(name="plain", export_options={"optimize_attention": False}, **common),
        Row(name="flat", parent="plain", **common),
    )


def make_model(preset, length, seed):
    """Returns a classifier of three classes that puts out logits."""
    from tfcompress.models import load_preset

    found = load_preset(preset, texts=_WORDS)
    return found.build_classifier(3, length, seed=seed)


def make_inputs(model, length, seed):
    """Returns 32 texts of random tokens, each input int32, shape `(32, length)`."""
    import numpy as np

    rng = np.random.default_rng(seed)
    shape = (_NUM_TEXTS, length)
    arrays = {
        "token_ids": rng.integers(5, 100, shape),
        "padding_mask": np.ones(shape),
        "segment_ids": np.zeros(shape),
    }
    return {t.name: arrays[t.name].astype(np.int32) for t in model.inputs}


if __name__ == "__main__":
    entry_point.run(main, Settings)
