"""Compression methods: a frozen config and one function each.

`METHODS` is the only registry: the function of a config's type. All functions share one
signature, `method(model, config, training=None, *, finetune=True) -> (model,
CompressionReport)`, take a flat tf_keras model, leave it as it was and return a
stripped copy. `training` also serves where only batches or the loss are needed; with
`finetune=False`, as in a step in front of others, a method that can do without does not
fit it.
"""

from tfcompress.methods.cluster import ClusterConfig, cluster
from tfcompress.methods.prune import prune
from tfcompress.methods.prune_config import PruneConfig
from tfcompress.methods.qat import qat
from tfcompress.methods.qat_config import QatConfig

# In the order in which a recipe's steps hold: each keeps what those before it made.
METHODS = {
    PruneConfig: prune,
    ClusterConfig: cluster,
    QatConfig: qat,
}

__all__ = [
    "METHODS",
    "ClusterConfig",
    "PruneConfig",
    "QatConfig",
    "cluster",
    "prune",
    "qat",
]
