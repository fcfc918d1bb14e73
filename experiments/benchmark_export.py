"""Benchmark the export of a BERT classifier: Keras's operators against ours.

    make experiment NAME=benchmark_export
    make experiment NAME=benchmark_export ARGS="--preset=FOLDER --length=64"

The row `plain` is the classifier as Keras writes it down, attention as Einsum and
LayerNormalization and GELU in pieces; the row `flat` is what `export_model` makes of
it. All files are timed in turn on random tokens, in float32, beside TensorFlow. This
measures bytes and time and says nothing of accuracy.

Expected on 2 cores: 9 minutes with MiniLM and --rounds=3.
"""

import dataclasses

from tfcompress import entry_point
from tfcompress.runner.rows import Row, standard_targets
from tfcompress.runner.settings import TimingSettings
from tfcompress.settings import check_at_least, setting


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings(TimingSettings):
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
    from tfcompress.runner.file_benchmark import run_file_benchmark

    length, seed = settings.length, settings.seed
    return run_file_benchmark(
        "benchmark_export",
        make_rows(settings.formats),
        lambda: make_result(settings.preset, length, seed),
        lambda model: make_inputs(model, length, seed),
        settings,
    )


def make_rows(formats):
    """Returns the two rows; `plain` is what the other is compared with."""
    targets = standard_targets(formats, ("dense",))
    return (
        Row(
            name="plain",
            targets=targets[1:],
            export_options={"keeps_operators": True},
        ),
        Row(name="flat", targets=targets),
    )


def make_result(preset, length, seed):
    """Returns what `compress` makes of a classifier without a step."""
    from tfcompress.compress import compress
    from tfcompress.models import load_preset

    found = load_preset(preset, texts=_WORDS)
    return compress(found.build_classifier(3, length, seed=seed), "")


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
