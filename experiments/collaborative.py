"""Prune, cluster and quantize one classifier, in every combination.

    make experiment NAME=collaborative
    make experiment NAME=collaborative ARGS="--preset=FOLDER --formats=onnx,openvino"

The baseline is fine-tuned by each of the recipes prune, cluster, qat, prune+cluster,
prune+qat, cluster+qat and prune+cluster+qat, all with the same training, which the
control `baseline_finetuned` has too. Zeros and clusters stay to the end, which is
checked in the model and measured in the file (the columns `values` and, in the records,
`num_nonzero`). Rows with qat are shipped as integers, the others in float32; each dense
and coded.

Without `--preset` the model is the embedding classifier of IMDB, as a TFLite file in
int8 throughout; with it a BERT classifier.
"""

import dataclasses

from tfcompress import entry_point
from tfcompress.methods import ClusterConfig, PruneConfig, QatConfig
from tfcompress.recipe import recipe_to_text
from tfcompress.runner.experiment import Experiment, run_experiment
from tfcompress.runner.rows import STATIC, Row, quantized_targets, standard_targets
from tfcompress.runner.settings import CalibrationSettings, FinetuningSettings
from tfcompress.settings import another_default, setting
from tfcompress.training import TrainingConfig


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings(FinetuningSettings, CalibrationSettings):
    """What the experiment's flags say."""

    preset: str | None = another_default(FinetuningSettings, "preset", None)
    sparsity: float = setting(0.5, "Share of zeros of the rows that are pruned.")
    num_clusters: int = setting(16, "Values that a clustered weight keeps.")

    @property
    def is_bert(self):
        """Whether the model is a BERT, and not the embedding classifier."""
        return self.preset is not None

    def training(self):
        """Returns epochs and learning rate of the baseline, defaults filled in."""
        if self.is_bert:
            return super().training()
        return {"learning_rate": TrainingConfig.learning_rate}

    def make_task(self, dataset):
        """Returns the task of a dataset of texts."""
        if self.is_bert:
            return self.make_bert_task(dataset)
        from tfcompress.runner.text_classification import EmbeddingTask

        return EmbeddingTask(dataset, seed=self.seed, finetuning=self.finetuning())


CONTROL = "baseline_finetuned"
# Of the embedding classifier: integers throughout are for models without attention.
_FULL = "static_range_wi8_ai8_full"


def make_rows(settings):
    """Returns the experiment's rows.

    Args:
        settings: `Settings`.
    """
    formats, codings = settings.formats, settings.codings
    plain = standard_targets(formats, codings)
    integer = quantized_targets(formats, codings, "static_range")
    if not settings.is_bert:
        integer = tuple(
            dataclasses.replace(target, precision=_FULL)
            if (target.format, target.precision) == ("tflite", STATIC)
            else target
            for target in integer
        )
    steps = {
        "prune": PruneConfig(sparsity=settings.sparsity, seed=settings.seed),
        "cluster": ClusterConfig(
            num_clusters=settings.num_clusters, seed=settings.seed
        ),
        "qat": QatConfig(
            "static_range",
            # A file that is integer throughout rounds every output.
            activations="all" if not settings.is_bert else "products",
            seed=settings.seed,
        ),
    }
    matrix = (
        ("prune",),
        ("cluster",),
        ("qat",),
        ("prune", "cluster"),
        ("prune", "qat"),
        ("cluster", "qat"),
        ("prune", "cluster", "qat"),
    )
    return (
        Row(name="baseline", is_timed=True, targets=integer),
        Row(name=CONTROL, parent="baseline", targets=plain[:1]),
        *(
            Row(
                name="_".join(names),
                parent="baseline",
                recipe=recipe_to_text(tuple(steps[name] for name in names)),
                control=CONTROL,
                is_timed="qat" in names,
                targets=integer if "qat" in names else plain,
            )
            for names in matrix
        ),
    )


def main(settings):
    """Runs the experiment; returns the exit status."""
    rows = settings.choose_rows(make_rows(settings))
    is_bert = settings.is_bert
    return run_experiment(
        Experiment(
            name="collaborative",
            default_dataset="tweet_sentiment_extraction" if is_bert else "imdb_reviews",
            rows=rows,
            make_task=settings.make_task,
            calibration=settings.calibration(settings.seed),
        ),
        settings,
        settings.derived(rows),
    )


if __name__ == "__main__":
    entry_point.run(main, Settings)
