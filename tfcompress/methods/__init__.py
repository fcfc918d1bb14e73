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
from tfcompress.methods.engines import OURS, STOCK
from tfcompress.methods.method import (
    BLOCK_SCALES,
    CLUSTERS,
    INTEGER_GRID,
    ZEROS,
    Engine,
    Method,
)
from tfcompress.methods.prune import run_pruning
from tfcompress.methods.prune_config import PruneConfig
from tfcompress.methods.prune_plan import plan_pruning
from tfcompress.methods.qat import run_quantization
from tfcompress.methods.qat_config import QatConfig
from tfcompress.methods.qat_plan import plan_quantization
from tfcompress.methods.stock.cluster import plan_stock_clusters, run_stock_clustering
from tfcompress.methods.stock.prune import plan_stock_pruning, run_stock_pruning
from tfcompress.methods.stock.qat import (
    plan_stock_quantization,
    run_stock_quantization,
)

_MOVES_ZEROS = (
    "prunes and then, with keep_zeros=False, moves the zeros. Leave keep_zeros out."
)
_TFMOT_KEEPS_NOTHING = (
    "has 'qat' by TFMOT, whose default 8-bit scheme keeps no zeros and no clusters of "
    "earlier steps. Leave engine='tfmot' out of 'qat'."
)
_ROWS = (
    Method(
        name="prune",
        config=PruneConfig,
        makes={ZEROS: True},
        engines={
            OURS: Engine(plan=plan_pruning, run=run_pruning, keeps={ZEROS: True}),
            STOCK: Engine(plan=plan_stock_pruning, run=run_stock_pruning, keeps={}),
        },
    ),
    Method(
        name="cluster",
        config=ClusterConfig,
        makes={CLUSTERS: True, BLOCK_SCALES: "has_block_scales"},
        engines={
            OURS: Engine(
                plan=plan_clusters,
                run=run_clustering,
                keeps={ZEROS: "keep_zeros"},
                loses={ZEROS: _MOVES_ZEROS},
            ),
            STOCK: Engine(
                plan=plan_stock_clusters,
                run=run_stock_clustering,
                keeps={ZEROS: "keep_zeros"},
                loses={ZEROS: _MOVES_ZEROS},
            ),
        },
    ),
    Method(
        name="qat",
        config=QatConfig,
        makes={INTEGER_GRID: True},
        engines={
            OURS: Engine(
                plan=plan_quantization,
                run=run_quantization,
                keeps={ZEROS: True, CLUSTERS: True},
                loses={
                    BLOCK_SCALES: "gives blocks of weights scales of their own, where "
                    "'qat' has one for a channel: leave block_size out of 'cluster'."
                },
            ),
            STOCK: Engine(
                plan=plan_stock_quantization,
                run=run_stock_quantization,
                keeps={},
                loses=dict.fromkeys(
                    (ZEROS, CLUSTERS, BLOCK_SCALES), _TFMOT_KEEPS_NOTHING
                ),
            ),
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
