"""Compression methods: a frozen config and one function each.

`METHODS` has the function of a config's type. All functions share one signature,
`method(model, config, training=None, *, finetune=True) -> (model, CompressionReport)`,
take a flat tf_keras model, leave it as it was and return a stripped copy. `training`
also serves where only batches or the loss are needed; with `finetune=False`, as in a
step in front of others, a method that can do without does not fit it.

`planned_rows` says what a method will do with each layer before it does anything, and
raises what is wrong with the config for this model.
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


def planned_rows(model, config):
    """Plans a step.

    Args:
        model: flat tf_keras model.
        config: of a type in `METHODS`.
    Returns:
        Tuple of `LayerRow`, one for each layer, with nothing measured.
    Raises:
        InvalidValueError: if the config cannot be followed on this model.
    """
    if isinstance(config, PruneConfig):
        return plan_pruning(model, config)[0]
    plan = plan_clusters if isinstance(config, ClusterConfig) else plan_quantization
    return tuple(todo.row for todo in plan(model, config).values())


__all__ = [
    "METHODS",
    "ClusterConfig",
    "PruneConfig",
    "QatConfig",
    "cluster",
    "planned_rows",
    "prune",
    "qat",
]
