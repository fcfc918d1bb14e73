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

from absl import flags

from tfcompress import entry_point
from tfcompress.methods import ClusterConfig, PruneConfig, QatConfig
from tfcompress.recipe import recipe_to_text
from tfcompress.runner import bert_flags, calibration_flags, finetuning_flags
from tfcompress.runner import flags as runner_flags
from tfcompress.runner.experiment import Experiment, run_experiment
from tfcompress.runner.rows import STATIC, Row, quantized_variants, standard_variants
from tfcompress.training import TrainingConfig

flags.DEFINE_float("sparsity", 0.5, "Share of zeros of the rows that are pruned.")
flags.DEFINE_integer("num_clusters", 16, "Values that a clustered weight keeps.")
flags.adopt_module_key_flags(runner_flags)
flags.adopt_module_key_flags(bert_flags)
flags.adopt_module_key_flags(finetuning_flags)
flags.adopt_module_key_flags(calibration_flags)
flags.FLAGS.set_default("preset", None)

CONTROL = "baseline_finetuned"
# Of the embedding classifier: integers throughout are for models without attention.
_FULL = "static_range_wi8_ai8_full"


def make_rows(settings, formats, codings):
    """Returns the experiment's rows.

    Args:
        settings: dict of `sparsity`, `num_clusters`, `seed`, and `model`: "embedding"
            or "bert".
        formats: names of the formats to ship, besides the Keras model.
        codings: codings to ship each format in.
    """
    plain = standard_variants(formats, codings)
    integer = quantized_variants(formats, codings, "static_range")
    if settings["model"] == "embedding":
        integer = tuple(
            dataclasses.replace(variant, precision=_FULL)
            if (variant.format, variant.precision) == ("tflite", STATIC)
            else variant
            for variant in integer
        )
    steps = {
        "prune": PruneConfig(sparsity=settings["sparsity"], seed=settings["seed"]),
        "cluster": ClusterConfig(
            num_clusters=settings["num_clusters"], seed=settings["seed"]
        ),
        "qat": QatConfig(
            "static_range",
            # A file that is integer throughout rounds every output.
            activations="all" if settings["model"] == "embedding" else "products",
            seed=settings["seed"],
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
        Row(name="baseline", is_timed=True, variants=integer),
        Row(name=CONTROL, parent="baseline", variants=plain[:1]),
        *(
            Row(
                name="_".join(names),
                parent="baseline",
                recipe=recipe_to_text(tuple(steps[name] for name in names)),
                control=CONTROL,
                is_timed="qat" in names,
                variants=integer if "qat" in names else plain,
            )
            for names in matrix
        ),
    )


def main(_):
    """Runs the experiment with the parsed flags; returns the exit status."""
    own = {name: flags.FLAGS[name].value for name in ("sparsity", "num_clusters")}
    is_bert = flags.FLAGS.preset is not None
    if is_bert:
        own |= bert_flags.bert_settings()
    learning_rate = own.get("learning_rate", TrainingConfig.learning_rate)
    own |= finetuning_flags.finetuning_settings(learning_rate)
    options = runner_flags.options_from_flags()
    calibration, of_calibration = calibration_flags.calibration_from_flags(options.seed)
    rows = make_rows(
        own | {"seed": options.seed, "model": "bert" if is_bert else "embedding"},
        options.formats,
        options.codings,
    )
    rows = finetuning_flags.rows_from_flags(rows)
    own |= of_calibration | {"rows": [row.name for row in rows]}
    make_task = finetuning_flags.make_bert_task if is_bert else _make_embedding_task
    return run_experiment(
        Experiment(
            name="collaborative",
            default_dataset="tweet_sentiment_extraction" if is_bert else "imdb_reviews",
            rows=rows,
            make_task=lambda dataset: make_task(dataset, own, options.seed),
            calibration=calibration,
        ),
        options,
        own,
    )


def _make_embedding_task(dataset, settings, seed):
    from tfcompress.runner.text_classification import EmbeddingTask

    finetuning = {
        "epochs": settings["finetune_epochs"],
        "learning_rate": settings["finetune_learning_rate"],
    }
    return EmbeddingTask(dataset, seed=seed, finetuning=finetuning)


if __name__ == "__main__":
    entry_point.run(main)
