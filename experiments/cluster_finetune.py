"""Cluster and fine-tune an IMDB classifier; ship it as TFLite, ONNX and OpenVINO.

    make experiment NAME=cluster_finetune
    make experiment NAME=cluster_finetune ARGS="--num_clusters=8 --formats=onnx"

An embedding classifier is trained until its validation loss stops falling (the row
`baseline`); its weights are clustered without training (`clustered`), and clustered
and fine-tuned for an epoch (`clustered_finetuned`); the control is one more plain epoch
(`baseline_finetuned`). Each is shipped dense and coded, scored on the whole test split
through its file, and timed beside the others.

Expected on 2 cores: 7 minutes on imdb_reviews, 4 on the embedded corpus, which stands
in where imdb_reviews cannot be had. Expected on imdb_reviews: the baseline at about
0.87, the clustered and fine-tuned files within half a point of the control at a seventh
of the bytes.
"""

import dataclasses

from tfcompress import entry_point
from tfcompress.formats.target import Target
from tfcompress.methods import ClusterConfig
from tfcompress.recipe import recipe_to_text
from tfcompress.runner.experiment import Experiment, run_experiment
from tfcompress.runner.rows import Row, standard_targets
from tfcompress.runner.settings import DatasetSettings
from tfcompress.settings import check_at_least, setting


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings(DatasetSettings):
    """What the experiment's flags say."""

    num_clusters: int = setting(16, "Values that a weight tensor keeps, 2 to 256.")
    centroid_init: str = setting(
        "kmeans",
        "kmeans, or one of TFMOT's: linear, density_based, random, kmeans_plus_plus.",
    )
    refresh_steps: int = setting(
        ClusterConfig.refresh_steps,
        "Optimizer steps for which a weight stays assigned to its centroid.",
    )
    finetune_epochs: int = setting(1, "Epochs of fine-tuning, and of the control.")

    def __post_init__(self):
        super().__post_init__()
        check_at_least(self, 1, "finetune_epochs")


# What clustering has to beat: TFLite's own smaller files of the baseline.
TO_BEAT = (
    Target(format="tflite", precision="float16"),
    Target(format="tflite", precision="dynamic_range_wi8"),
)


def make_rows(config, formats, codings):
    """Returns the experiment's rows.

    Args:
        config: `ClusterConfig` of the clustered rows.
        formats: names of the formats to ship, besides the Keras model.
        codings: codings to ship each format in.
    """
    targets = standard_targets(formats, codings)
    to_beat = TO_BEAT if "tflite" in formats else ()
    recipe = recipe_to_text((config,))
    every_step = recipe_to_text((dataclasses.replace(config, refresh_steps=1),))
    control = "baseline_finetuned"
    return (
        Row(name="baseline", is_timed=True, targets=targets + to_beat),
        Row(
            name="clustered",
            parent="baseline",
            recipe=recipe,
            trains=False,
            targets=targets,
        ),
        Row(name=control, parent="baseline", targets=targets),
        Row(
            name="clustered_finetuned",
            parent="baseline",
            recipe=recipe,
            control=control,
            is_timed=True,
            targets=targets,
        ),
        # What keeping assignments for some steps saves, and what it costs.
        Row(
            name="clustered_every_step",
            parent="baseline",
            recipe=every_step,
            control=control,
            targets=targets[:1],
        ),
    )


def main(settings):
    """Runs the experiment; returns the exit status."""
    config = ClusterConfig(
        num_clusters=settings.num_clusters,
        centroid_init=settings.centroid_init,
        refresh_steps=settings.refresh_steps,
        seed=settings.seed,
    )
    return run_experiment(
        Experiment(
            name="cluster_finetune",
            default_dataset="imdb_reviews",
            rows=make_rows(config, settings.formats, settings.codings),
            make_task=lambda dataset: _make_task(dataset, settings),
        ),
        settings,
    )


def _make_task(dataset, settings):
    from tfcompress.runner.text_classification import EmbeddingTask

    finetuning = {"epochs": settings.finetune_epochs}
    return EmbeddingTask(dataset, seed=settings.seed, finetuning=finetuning)


if __name__ == "__main__":
    entry_point.run(main, Settings)
