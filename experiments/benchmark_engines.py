"""Stock TFMOT beside our own engines: accuracy and the time of an epoch, one table.

    make experiment NAME=benchmark_engines
    make experiment NAME=benchmark_engines ARGS="--preset=FOLDER --finetune_epochs=2"

The baseline is fine-tuned by prune, cluster and qat, each by our engine and by TFMOT's
on the same bridged model, and by the control `baseline_finetuned`, which has the same
training without a method. The Keras models are scored on the whole test split, and the
lines below the table say what an epoch takes beside the control's. What TFMOT leaves
out stands in the records, layer by layer.

Expected on 2 cores: 4 minutes on imdb_reviews; pruning as TFMOT's to the bit, an epoch
of clustering at little more than half of TFMOT's time, and TFMOT's qat, which leaves
the embedding float, within noise of the control.

Without `--preset` the model is the embedding classifier of IMDB; with it a BERT
classifier. Steps and memory of clustering at BERT's sizes are those of
`benchmark_clustering`.
"""

import dataclasses

from experiments import collaborative
from tfcompress import entry_point
from tfcompress.methods import ClusterConfig, PruneConfig, QatConfig
from tfcompress.methods.engines import ENGINES
from tfcompress.recipe import recipe_to_text
from tfcompress.runner.experiment import Experiment, run_experiment
from tfcompress.runner.rows import Row, standard_variants

CONTROL = "baseline_finetuned"


class Settings(collaborative.Settings):
    """What the experiment's flags say."""


def make_rows(settings):
    """Returns the experiment's rows.

    Args:
        settings: `Settings`.
    """
    variants = standard_variants(settings.formats, settings.codings)[:1]
    seed = settings.seed
    steps = {
        "prune": PruneConfig(sparsity=settings.sparsity, seed=seed),
        "cluster": ClusterConfig(num_clusters=settings.num_clusters, seed=seed),
        # TFMOT rounds what every layer that it knows puts out.
        "qat": QatConfig("static_range", activations="all", seed=seed),
    }
    return (
        Row(name="baseline", variants=variants),
        Row(name=CONTROL, parent="baseline", variants=variants),
        *(
            Row(
                name=f"{name}_{engine}",
                parent="baseline",
                recipe=recipe_to_text((_with_engine(config, engine),)),
                control=CONTROL,
                variants=variants,
            )
            for name, config in steps.items()
            for engine in ENGINES
        ),
    )


def _with_engine(config, engine):
    """Returns a step as an engine does it, without settings that TFMOT lacks."""
    changes = {"engine": engine}
    if engine != ENGINES[0] and isinstance(config, QatConfig):
        changes["activations"] = QatConfig.activations
    return dataclasses.replace(config, **changes)


def main(settings):
    """Runs the experiment; returns the exit status."""
    rows = settings.choose_rows(make_rows(settings))
    return run_experiment(
        Experiment(
            name="benchmark_engines",
            default_dataset="tweet_sentiment_extraction"
            if settings.is_bert
            else "imdb_reviews",
            rows=rows,
            make_task=settings.make_task,
            calibration=settings.calibration(settings.seed),
        ),
        settings,
        settings.derived(rows),
    )


if __name__ == "__main__":
    entry_point.run(main, Settings)
