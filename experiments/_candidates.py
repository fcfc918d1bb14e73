"""What `compress --max_drop` tries, from the smallest file to the safest."""

from tfcompress.formats import FORMATS
from tfcompress.formats.target import Target
from tfcompress.methods import ClusterConfig, PruneConfig
from tfcompress.recipe import recipe_to_text
from tfcompress.runner.rows import Row

_FISHER = "fisher"
_BLOCK_SIZE = 64


def candidate_rows(format, trains, seed):
    """Returns the rows to try.

    Args:
        format: name of the format of the file that is wanted.
        trains: whether recipes are fine-tuned; else they look at training examples.
        seed: of the recipes.
    Returns:
        List of `Row`s that start from the row `original`; the last target of each is
        its file. The last row is the model as it is, in float32.
    """

    def cluster(num_clusters, **fields):
        return ClusterConfig(num_clusters=num_clusters, seed=seed, **fields)

    by_sensitivity = {"sensitivity": _FISHER}
    recipes = {
        "pruned_clustered_16": (
            PruneConfig(sparsity=0.5, criterion=_FISHER, seed=seed),
            cluster(16, **by_sensitivity),
        ),
        "clustered_8": (cluster(8, **by_sensitivity),),
        "clustered_16": (cluster(16, **by_sensitivity),),
        "clustered_16_blocks": (cluster(16, block_size=_BLOCK_SIZE),),
        "clustered_64": (cluster(64, **by_sensitivity),),
    }
    rows = [
        Row(
            name=name,
            parent="original",
            recipe=recipe_to_text(recipe),
            trains=trains,
            is_timed=True,
            targets=(
                Target(format="keras"),
                Target(format=format),
                Target(format=format, coding="coded"),
            ),
        )
        for name, recipe in recipes.items()
    ]
    int8 = FORMATS[format].quantizer.int8
    precisions = {"int8": int8, "float16": "float16", "float32": "float32"}
    return rows + [
        _plain_row(name, format, precision) for name, precision in precisions.items()
    ]


def _plain_row(name, format, precision):
    """Returns the row of the model as it is, in one precision."""
    needed = dict.fromkeys(("float32", precision))  # a quantizer starts from float32
    files = (Target(format=format, precision=each) for each in needed)
    return Row(
        name=name,
        parent="original",
        trains=False,
        is_timed=True,
        targets=(Target(format="keras"), *files),
    )
