"""Quantize one BERT classifier after and during training; compare them in one run.

    make experiment NAME=ag_news ARGS="--preset=FOLDER"
    make experiment NAME=ag_news ARGS="--rows=qat,qat_static"
    make experiment NAME=ag_news ARGS="--dataset=tweet_sentiment_extraction"

One checkpoint is trained (the row `baseline`) and quantized by the tools of the field:
dynamic range, static range (ranges from the training split) and weights alone. Then it
is trained with its rounding (`qat`, `qat_static`, `qat_int4`), beside the same training
without (`baseline_finetuned`). Combined: the embedding table clustered and coded beside
native int8 and int4 layers in one TFLite file (`table_qat`, `table_qat_int4`); half of
the weights pruned, the others clustered, all int8 (`prune_cluster_qat`). The zeros of
that row come gradually, while it trains at a higher learning rate, which a control of
its own has too (`gradual_control`); clusters and integers are found once after that.
Each file is scored on the whole test split; the published figures stand in a table of
their own, since they come from other machines and checkpoints.

Without `--preset` the encoder is a small random one, so that the way can be walked
without a network.
"""

import dataclasses

from experiments._published import published_appendix
from tfcompress import entry_point
from tfcompress.formats import FORMATS
from tfcompress.formats.target import Target
from tfcompress.layer_rules import LayerRules
from tfcompress.methods import ClusterConfig, PruneConfig, QatConfig
from tfcompress.recipe import recipe_to_text
from tfcompress.report.published import Match
from tfcompress.runner.experiment import Experiment, run_experiment
from tfcompress.runner.rows import STATIC, Row
from tfcompress.runner.settings import CalibrationSettings, FinetuningSettings
from tfcompress.settings import another_default, setting


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings(FinetuningSettings, CalibrationSettings):
    """What the experiment's flags say."""

    # There are many files to time.
    rounds: int = another_default(FinetuningSettings, "rounds", 3)
    num_clusters: int = setting(16, "Values that a clustered weight keeps.")
    sparsity: float = setting(0.5, "Share of zeros of the row that is pruned.")
    gradual_learning_rate: float | None = setting(
        None,
        "Highest learning rate of the row that is pruned while it trains, and of its "
        "control. Default: twice --learning_rate.",
    )


CONTROL = "baseline_finetuned"
PRUNED = "prune_cluster_qat"
# What goes to zero while it trains takes larger steps; its control takes the same.
GRADUAL_CONTROL = "gradual_control"
# TensorFlow's own converter: what TFLite's other files stand beside.
CONVERTED = Target(format="tflite", precision="dynamic_range_wi8")
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


def make_rows(settings, gradual_learning_rate):
    """Returns the experiment's rows.

    Args:
        settings: `Settings`.
        gradual_learning_rate: of the rows that are pruned while they train.
    """
    files = _files_of_rows(settings.formats, "coded" in settings.codings)
    recipes = _recipes(settings)
    controls = dict.fromkeys(files, CONTROL) | {PRUNED: GRADUAL_CONTROL}
    of_controls = dict.fromkeys(controls[name] for name in files if files[name])
    gradual = {"learning_rate": gradual_learning_rate}
    return tuple(
        Row(
            name=name,
            parent=None if name == "baseline" else "baseline",
            recipe=recipes[name],
            control=None if name in ("baseline", *of_controls) else controls[name],
            finetuning=gradual if name in (PRUNED, GRADUAL_CONTROL) else {},
            is_timed=bool(of_row),
            targets=tuple(dict.fromkeys([Target(format="keras"), *of_row])),
            quantization_options=QUANTIZATION_OPTIONS,
            # A table's bitmap would cost more time than it saves bytes.
            coding_options={"slow_layers": "leave"} if "table" in name else {},
        )
        for name, of_row in files.items()
        if of_row or name in of_controls
    )


def _files_of_rows(formats, is_coded):
    """Returns row name -> its files besides the Keras model; a control has none."""
    dynamic = [
        file
        for each in formats
        for precision in (
            FORMATS[each].quantizer.of_qat["dynamic_range"],
            *BLOCKS.get(each, ()),
        )
        for file in _files([each], precision)
    ]
    static = _files(formats, STATIC)
    tflite = [format for format in formats if format == "tflite"]
    others = [format for format in formats if format != "tflite"]
    return {
        "baseline": [*dynamic, *([CONVERTED] if tflite else []), *static],
        CONTROL: [],
        "qat": dynamic,
        "qat_static": static,
        "qat_int4": _files(tflite, TABLE_APART[4]),
        "table_qat": _files(tflite, TABLE_APART[8], is_coded),
        "table_qat_int4": _files(tflite, TABLE_APART[4], is_coded),
        GRADUAL_CONTROL: [],
        PRUNED: _files(others, STATIC, is_coded),
    }


def _files(formats, precision, is_coded=False):
    """Returns the targets of one precision, after the float32 ones they start from."""
    codings = ("dense", "coded") if is_coded else ("dense",)
    return [
        Target(format=format, precision=each, coding=coding)
        for format in formats
        for each in ("float32", precision)
        for coding in (codings if each == precision else ("dense",))
    ]


def _recipes(settings):
    """Returns row name -> recipe, as text."""
    seed = settings.seed
    prune = PruneConfig(
        sparsity=settings.sparsity,
        criterion="fisher",
        schedule="polynomial",
        seed=seed,
    )
    cluster = ClusterConfig(
        num_clusters=settings.num_clusters,
        sensitivity="fisher",
        seed=seed,
        finetune=False,
    )
    table = ClusterConfig(
        num_clusters=settings.num_clusters,
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
        GRADUAL_CONTROL: (),
        PRUNED: (prune, cluster, qat("static_range", finetune=False)),
    }
    return {name: recipe_to_text(recipe) for name, recipe in steps.items()}


def main(settings):
    """Runs the experiment; returns the exit status."""
    gradual_learning_rate = settings.gradual_learning_rate
    if gradual_learning_rate is None:
        gradual_learning_rate = 2 * settings.training()["learning_rate"]
    rows = settings.choose_rows(make_rows(settings, gradual_learning_rate))
    return run_experiment(
        Experiment(
            name="ag_news",
            default_dataset="ag_news_subset",
            rows=rows,
            make_task=settings.make_bert_task,
            calibration=settings.calibration(settings.seed),
            appendix=published_appendix("ag_news_subset", PUBLISHED),
        ),
        settings,
        settings.derived(rows) | {"gradual_learning_rate": gradual_learning_rate},
    )


if __name__ == "__main__":
    entry_point.run(main, Settings)
