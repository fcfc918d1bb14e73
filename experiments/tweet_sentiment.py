"""Prune, cluster and quantize one BERT classifier of tweets; compare them in one run.

    make experiment NAME=tweet_sentiment ARGS="--preset=FOLDER"
    make experiment NAME=tweet_sentiment ARGS="--rows=l1_pruning,sparse_training"

One checkpoint is trained (the row `original`) and compressed in every way that a
published table compares: pruned at random, by magnitude and by what the loss misses
least (`fisher`), pruned gradually while it trains (`sparse_training`), clustered with
and without fine-tuning, pruned and clustered. The control of what is fine-tuned,
`original_finetuned`, gets the same further training and no method. Beside them stand
the files of other tools: the converters' float16 and int8, NNCF's int4, NF4 and
codebook, ai-edge-quantizer's int4.
Each file is scored on the whole test split; the published figures stand in a table of
their own, since they come from other machines and checkpoints.

`l1_pruning_norms` names what pruning leaves alone otherwise, the LayerNormalizations:
without them little is left of the model.

Without `--preset` the encoder is a small random one, so that the way can be walked
without a network.
"""

import dataclasses

from experiments._published import published_appendix
from tfcompress import entry_point
from tfcompress.formats import FORMATS
from tfcompress.formats.target import Target
from tfcompress.layer_rules import LayerRules
from tfcompress.methods import ClusterConfig, PruneConfig
from tfcompress.recipe import recipe_to_text
from tfcompress.report.published import Match
from tfcompress.runner.experiment import Experiment, run_experiment
from tfcompress.runner.rows import Row, standard_targets
from tfcompress.runner.settings import FinetuningSettings
from tfcompress.settings import another_default, setting


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings(FinetuningSettings):
    """What the experiment's flags say."""

    # There are many files to time.
    rounds: int = another_default(FinetuningSettings, "rounds", 3)
    sparsity: float = setting(0.5, "Share of zeros of the rows that are pruned once.")
    gradual_sparsity: float = setting(0.8, "Share of zeros of sparse training.")
    num_clusters: int = setting(16, "Values that a weight tensor keeps, 2 to 256.")
    block_size: int = setting(64, "Weights of a scale in the row of blocks.")


CONTROL = "original_finetuned"
# Files of other tools, beside the plain ones: what clustering is measured against.
RIVALS = {
    "tflite": ("dynamic_range_wi4", "dynamic_range_wi4b32"),
    "openvino": ("float16", "weight_only_wi4", "weight_only_nf4", "weight_only_cb4"),
}
_TWEETS = {"table": "tweets"}
PUBLISHED = (
    Match(**_TWEETS, method="original", row="original", format="keras"),
    Match(
        **_TWEETS,
        method="dynamic quantization",
        row="original",
        format="tflite",
        precision=FORMATS["tflite"].quantizer.int8,
    ),
    Match(
        **_TWEETS,
        method="unstructured random pruning",
        row="random_pruning",
        format="keras",
    ),
    Match(
        **_TWEETS, method="unstructured l1 pruning", row="l1_pruning", format="keras"
    ),
    Match(
        **_TWEETS,
        method="sparse training",
        row="sparse_training",
        format="tflite",
        coding="coded",
    ),
    Match(
        **_TWEETS,
        method="openvino",
        row="original",
        format="openvino",
        precision="float16",
    ),
    Match(**_TWEETS, method="onnx", row="original", format="onnx"),
    Match(
        table="bert",
        method="clustering",
        row="clustered_finetuned",
        format="onnx",
        coding="coded",
    ),
)


def make_rows(settings):
    """Returns the experiment's rows.

    Args:
        settings: `Settings`.
    """
    formats, codings = settings.formats, settings.codings
    recipes = _recipes(settings)
    shipped = standard_targets(formats, codings)
    first = standard_targets(formats[:1], codings)
    plain = tuple(
        Target(format=format, precision=precision)
        for format in formats
        for precision in (
            "float32",
            FORMATS[format].quantizer.int8,
            *RIVALS.get(format, ()),
        )
    )

    def row(name, *, targets, trains=False, is_timed=False, parent="original"):
        return Row(
            name=name,
            parent=parent,
            recipe=recipes[name],
            control=CONTROL if trains and name != CONTROL else None,
            trains=trains,
            is_timed=is_timed,
            targets=targets,
        )

    return (
        Row(name="original", is_timed=True, targets=(shipped[0], *plain)),
        row(CONTROL, targets=first[:2], trains=True),
        row("random_pruning", targets=first),
        row("l1_pruning", targets=first),
        row("l1_pruning_norms", targets=first[:1]),
        row("fisher_pruning", targets=first),
        row("sparse_training", targets=first, trains=True),
        row("sparse_clustered", targets=shipped, parent="sparse_training"),
        row("clustered", targets=first),
        row("clustered_fisher", targets=first),
        row("clustered_blocks", targets=shipped, is_timed=True),
        row("clustered_finetuned", targets=shipped, trains=True, is_timed=True),
        row("clustered_8_finetuned", targets=first, trains=True),
        row("prune_cluster", targets=first),
        row("fisher_prune_cluster", targets=first),
        row("prune_cluster_finetuned", targets=shipped, trains=True, is_timed=True),
        row("fisher_prune_cluster_finetuned", targets=first, trains=True),
    )


def _recipes(settings):
    """Returns row name -> recipe, as text."""
    seed, num_clusters = settings.seed, settings.num_clusters

    def prune(sparsity, **fields):
        return PruneConfig(sparsity=sparsity, seed=seed, **fields)

    def cluster(num_clusters=num_clusters, **fields):
        return ClusterConfig(num_clusters=num_clusters, seed=seed, **fields)

    by_sensitivity = {"sensitivity": "fisher"}
    half = prune(settings.sparsity)
    half_by_fisher = prune(settings.sparsity, criterion="fisher")
    norms = {"LayerNormalization": {"weights": ["gamma", "beta"]}}
    steps = {
        CONTROL: (),
        "random_pruning": (prune(settings.sparsity, criterion="random"),),
        "l1_pruning": (half,),
        "l1_pruning_norms": (prune(settings.sparsity, layers=LayerRules(norms)),),
        "fisher_pruning": (half_by_fisher,),
        "sparse_training": (
            prune(
                settings.gradual_sparsity,
                criterion="fisher",
                schedule="polynomial",
            ),
        ),
        "sparse_clustered": (cluster(**by_sensitivity),),
        "clustered": (cluster(),),
        "clustered_fisher": (cluster(**by_sensitivity),),
        "clustered_blocks": (cluster(block_size=settings.block_size),),
        "clustered_finetuned": (cluster(),),
        "clustered_8_finetuned": (cluster(8),),
        "prune_cluster": (half, cluster()),
        "fisher_prune_cluster": (half_by_fisher, cluster(**by_sensitivity)),
        "prune_cluster_finetuned": (half, cluster()),
        "fisher_prune_cluster_finetuned": (
            half_by_fisher,
            cluster(**by_sensitivity),
        ),
    }
    return {name: recipe_to_text(recipe) for name, recipe in steps.items()}


def main(settings):
    """Runs the experiment; returns the exit status."""
    rows = settings.choose_rows(make_rows(settings))
    return run_experiment(
        Experiment(
            name="tweet_sentiment",
            default_dataset="tweet_sentiment_extraction",
            rows=rows,
            make_task=settings.make_bert_task,
            appendix=published_appendix("tweet_sentiment_extraction", PUBLISHED),
        ),
        settings,
        settings.derived(rows),
    )


if __name__ == "__main__":
    entry_point.run(main, Settings)
