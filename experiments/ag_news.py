"""Quantize one BERT classifier after and during training; compare them in one run.

    make experiment NAME=ag_news ARGS="--preset=FOLDER"
    make experiment NAME=ag_news ARGS="--rows=qat,qat_static"
    make experiment NAME=ag_news ARGS="--dataset=tweet_sentiment_extraction"

One checkpoint is trained (the row `baseline`) and quantized by the tools of the field:
dynamic range, static range (ranges from the training split) and weights alone. Then it
is trained with its rounding (`qat`, `qat_static`, `qat_int4`), beside the same training
without (`baseline_finetuned`). Combined: the embedding table clustered and coded beside
native int8 and int4 layers in one TFLite file (`table_qat`, `table_qat_int4`); half of
the weights pruned, the others clustered, all int8 (`prune_cluster_qat`).
Each file is scored on the whole test split; the published figures stand in a table of
their own, since they come from other machines and checkpoints.

Without `--preset` the encoder is a small random one, so that the way can be walked
without a network.
"""

from absl import flags

from experiments._published import published_appendix
from tfcompress import entry_point
from tfcompress.layer_rules import LayerRules
from tfcompress.methods import ClusterConfig, PruneConfig, QatConfig
from tfcompress.recipe import recipe_to_text
from tfcompress.report.published import Match
from tfcompress.runner import bert_flags, calibration_flags, finetuning_flags
from tfcompress.runner import flags as runner_flags
from tfcompress.runner.experiment import Experiment, run_experiment
from tfcompress.runner.rows import QUANTIZED, STATIC, Row, Variant

flags.DEFINE_integer("num_clusters", 16, "Values that a clustered weight keeps.")
flags.DEFINE_float("sparsity", 0.5, "Share of zeros of the row that is pruned.")
flags.adopt_module_key_flags(runner_flags)
flags.adopt_module_key_flags(bert_flags)
flags.adopt_module_key_flags(finetuning_flags)
flags.adopt_module_key_flags(calibration_flags)
flags.FLAGS.set_default("rounds", 3)  # there are many files to time

CONTROL = "baseline_finetuned"
# TensorFlow's own converter: what TFLite's other files stand beside.
CONVERTED = Variant(format="tflite", precision="dynamic_range_wi8")
# ONNX Runtime's other int8: activations rounded in blocks.
BLOCKS = {"onnx": ("weight_only_wi8",)}
# TFLite's dense layers in integers beside a table that can be coded.
TABLE_APART = {8: "dynamic_range_wi8_efp32", 4: "dynamic_range_wi4"}
# What the second layer of a feed-forward block reads has outliers, which fixed ranges
# round away; TFLite can find the ranges of such a layer as it runs.
QUANTIZATION_OPTIONS = {
    ("tflite", STATIC): {
        "layers": {r".*transformer_layer_\d+/output": {"scheme": "dynamic_range"}}
    }
}


def _match(method, row, format, precision="float32"):
    return Match(
        table="ag_news", method=method, row=row, format=format, precision=precision
    )


PUBLISHED = (
    _match("original", "baseline", "keras"),
    _match("dynamic quantization", "baseline", "tflite", "dynamic_range_wi8"),
    _match("static quantization", "baseline", "openvino", STATIC),
    _match("quantization-aware training", "qat_static", "openvino", STATIC),
)


def make_rows(settings, formats, codings):
    """Returns the experiment's rows.

    Args:
        settings: dict of the flags `num_clusters`, `sparsity` and `seed`.
        formats: names of the formats to ship, besides the Keras model.
        codings: codings to ship files in that can be coded.
    """
    is_coded = "coded" in codings
    dynamic = [
        file
        for each in formats
        for precision in (QUANTIZED["dynamic_range"][each], *BLOCKS.get(each, ()))
        for file in _files([each], precision)
    ]
    static = _files(formats, STATIC)
    tflite = [format for format in formats if format == "tflite"]
    others = [format for format in formats if format != "tflite"]
    int8_beside_table = _files(tflite, TABLE_APART[8], is_coded)
    int4_beside_table = _files(tflite, TABLE_APART[4], is_coded)
    converted = [CONVERTED] if tflite else []
    files = {
        "baseline": [*dynamic, *converted, *static],
        CONTROL: [],
        "qat": dynamic,
        "qat_static": static,
        "qat_int4": _files(tflite, TABLE_APART[4]),
        "table_qat": int8_beside_table,
        "table_qat_int4": int4_beside_table,
        "prune_cluster_qat": _files(others, STATIC, is_coded),
    }
    recipes = _recipes(settings)
    return tuple(
        Row(
            name=name,
            parent=None if name == "baseline" else "baseline",
            recipe=recipes[name],
            control=None if name in ("baseline", CONTROL) else CONTROL,
            is_timed=bool(of_row),
            variants=tuple(dict.fromkeys([Variant(format="keras"), *of_row])),
            quantization_options=QUANTIZATION_OPTIONS,
            # A table's bitmap would cost more time than it saves bytes.
            coding_options={"slow_layers": "leave"} if "table" in name else {},
        )
        for name, of_row in files.items()
        if of_row or name == CONTROL
    )


def _files(formats, precision, is_coded=False):
    """Returns the variants of one precision, after the float32 ones they start from."""
    codings = ("dense", "coded") if is_coded else ("dense",)
    return [
        Variant(format=format, precision=each, coding=coding)
        for format in formats
        for each in ("float32", precision)
        for coding in (codings if each == precision else ("dense",))
    ]


def _recipes(settings):
    """Returns row name -> recipe, as text."""
    seed = settings["seed"]
    prune = PruneConfig(sparsity=settings["sparsity"], criterion="fisher", seed=seed)
    cluster = ClusterConfig(
        num_clusters=settings["num_clusters"], sensitivity="fisher", seed=seed
    )
    table = ClusterConfig(
        num_clusters=settings["num_clusters"],
        seed=seed,
        layers=LayerRules({"Dense": None}),
    )

    def qat(scheme="dynamic_range", **fields):
        return QatConfig(scheme, seed=seed, **fields)

    # The table keeps its clusters, in float.
    dense_only = {"layers": LayerRules({"Embedding": None})}
    steps = {
        "baseline": (),
        CONTROL: (),
        "qat": (qat(),),
        "qat_static": (qat("static_range"),),
        "qat_int4": (qat(weight_bits=4, **dense_only),),
        "table_qat": (table, qat(**dense_only)),
        "table_qat_int4": (table, qat(weight_bits=4, **dense_only)),
        "prune_cluster_qat": (prune, cluster, qat("static_range")),
    }
    return {name: recipe_to_text(recipe) for name, recipe in steps.items()}


def main(_):
    """Runs the experiment with the parsed flags; returns the exit status."""
    names = ("num_clusters", "sparsity")
    own = {name: flags.FLAGS[name].value for name in names}
    own |= bert_flags.bert_settings()
    own |= finetuning_flags.finetuning_settings(own["learning_rate"])
    options = runner_flags.options_from_flags()
    calibration, of_calibration = calibration_flags.calibration_from_flags(options.seed)
    rows = make_rows(own | {"seed": options.seed}, options.formats, options.codings)
    rows = finetuning_flags.rows_from_flags(rows)
    own |= of_calibration | {"rows": [row.name for row in rows]}
    return run_experiment(
        Experiment(
            name="ag_news",
            default_dataset="ag_news_subset",
            rows=rows,
            make_task=lambda dataset: finetuning_flags.make_bert_task(
                dataset, own, options.seed
            ),
            calibration=calibration,
            appendix=published_appendix("ag_news_subset", PUBLISHED),
        ),
        options,
        own,
    )


if __name__ == "__main__":
    entry_point.run(main)
