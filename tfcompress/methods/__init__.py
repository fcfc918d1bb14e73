"""Compression methods: one table, a row each.

A row of `METHODS` (see `methods/method.py`) has a method's config, how it plans and
runs a step, and its traits: what it makes of weights, and what it keeps of earlier
steps. A new method is one file, one row and its tests.

`prune`, `cluster` and `qat` are the rows, each a function that plans and runs one step:
`method(model, config, training=None) -> (model, CompressionReport)`. It takes a flat
tf_keras model, leaves it as it was and returns a stripped copy.
"""

from tfcompress.methods.cluster import run_clustering
from tfcompress.methods.cluster_config import ClusterConfig
from tfcompress.methods.cluster_plan import plan_clusters
from tfcompress.methods.method import (
    BLOCK_SCALES,
    CLUSTERS,
    INTEGER_GRID,
    ZEROS,
    Method,
)
from tfcompress.methods.prune import run_pruning
from tfcompress.methods.prune_config import PruneConfig
from tfcompress.methods.prune_plan import plan_pruning
from tfcompress.methods.qat import run_quantization
from tfcompress.methods.qat_config import QatConfig
from tfcompress.methods.qat_plan import plan_quantization

_ROWS = (
    Method(
        name="prune",
        config=PruneConfig,
        plan=plan_pruning,
        run=run_pruning,
        makes={ZEROS: True},
        keeps={ZEROS: True},
    ),
    Method(
        name="cluster",
        config=ClusterConfig,
        plan=plan_clusters,
        run=run_clustering,
        makes={CLUSTERS: True, BLOCK_SCALES: "has_block_scales"},
        keeps={ZEROS: "keep_zeros"},
        loses={
            ZEROS: "prunes and then, with keep_zeros=False, moves the zeros. Leave "
            "keep_zeros out."
        },
    ),
    Method(
        name="qat",
        config=QatConfig,
        plan=plan_quantization,
        run=run_quantization,
        makes={INTEGER_GRID: True},
        keeps={ZEROS: True, CLUSTERS: True},
        loses={
            BLOCK_SCALES: "gives blocks of weights scales of their own, where 'qat' "
            "has one for a channel: leave block_size out of 'cluster'."
        },
    ),
)
METHODS = {row.name: row for row in _ROWS}
_BY_CONFIG = {row.config: row for row in _ROWS}
prune, cluster, qat = (METHODS[name] for name in ("prune", "cluster", "qat"))


def is_config(value):
    """Whether a value is the config of a method."""
    return type(value) in _BY_CONFIG


def method_of(config):
    """Returns the row of `METHODS` of a config."""
    return _BY_CONFIG[type(config)]


__all__ = [
    "METHODS",
    "ClusterConfig",
    "Method",
    "PruneConfig",
    "QatConfig",
    "cluster",
    "is_config",
    "method_of",
    "prune",
    "qat",
]
