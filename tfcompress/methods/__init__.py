"""Compression methods: a frozen config and one function each.

`METHODS` has the function of a config's type. All functions share one signature,
`method(model, config, training=None, *, finetune=True) -> (model, CompressionReport)`,
take a flat tf_keras model, leave it as it was and return a stripped copy. `training`
also serves where only batches or the loss are needed; with `finetune=False`, as in a
step in front of others, a method that can do without does not fit it.

`PLANS` has what a method decides of each layer before it does anything, by the config's
type: `plan(model, config)` raises what is wrong with the config for this model.
"""

from tfcompress.methods.cluster import ClusterConfig, cluster, plan_clusters
from tfcompress.methods.prune import prune
from tfcompress.methods.prune_config import PruneConfig
from tfcompress.methods.prune_plan import plan_pruning
from tfcompress.methods.qat import qat
from tfcompress.methods.qat_config import QatConfig
from tfcompress.methods.qat_plan import plan_quantization

# In the order in which a recipe's steps hold: each keeps what those before it made.
METHODS = {
    PruneConfig: prune,
    ClusterConfig: cluster,
    QatConfig: qat,
}
PLANS = {
    PruneConfig: plan_pruning,
    ClusterConfig: plan_clusters,
    QatConfig: plan_quantization,
}

__all__ = [
    "METHODS",
    "PLANS",
    "ClusterConfig",
    "PruneConfig",
    "QatConfig",
    "cluster",
    "prune",
    "qat",
]
