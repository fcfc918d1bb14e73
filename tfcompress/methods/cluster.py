"""Weight clustering: each weight tensor keeps at most `num_clusters` distinct values.

Use it where the file has to be small: a clustered tensor is a codebook and packed
indices, 4 bits a weight at 16 clusters. Without training the weights are moved to the
nearest centroid, once; with training, TFMOT's fine-tuning moves centroids and
assignments. Depthwise kernels, normalization and biases are left alone unless a rule
names the layer (biases always: a vector of them is small).

Source: Han et al., Deep Compression (arXiv:1510.00149), section 3; TFMOT's
`cluster_weights`, whose lookup and default initialisation are replaced.
"""

import dataclasses

from tfcompress.compression_report import (
    COMPRESSED,
    LEFT_ALONE,
    SKIPPED,
    CompressionReport,
    LayerRow,
    measure_weight,
)
from tfcompress.errors import InvalidValueError
from tfcompress.layer_rules import LayerRules
from tfcompress.methods import cluster_lookup
from tfcompress.methods.kmeans import kmeans_1d

# Ours first, then TFMOT's, by the names of its CentroidInitialization.
CENTROID_INITS = ("kmeans", "linear", "density_based", "random", "kmeans_plus_plus")
MIN_CLUSTERS, MAX_CLUSTERS = 2, 256  # indices of 1 to 8 bits


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClusterConfig:
    """Settings of `cluster`.

    Args:
        num_clusters: distinct values a tensor keeps, zero included, 2 to 256.
        centroid_init: `"kmeans"` (the one-dimensional optimum) or one of TFMOT's
            `"linear"`, `"density_based"`, `"random"`, `"kmeans_plus_plus"`.
        refresh_steps: optimizer steps for which assignments are kept. 1 assigns in
            every step, as TFMOT does; more costs less (docs/decisions/clustering.md).
        seed: of the inits that draw.
        layers: `LayerRules`; a rule may override `num_clusters` and `centroid_init`.
    """

    num_clusters: int = 16
    centroid_init: str = "kmeans"
    refresh_steps: int = 20
    seed: int = 0
    layers: LayerRules = LayerRules()

    def __post_init__(self):
        _check_int("num_clusters", self.num_clusters, MIN_CLUSTERS, MAX_CLUSTERS)
        _check_int("refresh_steps", self.refresh_steps, 1, None)
        _check_int("seed", self.seed, 0, None)
        if self.centroid_init not in CENTROID_INITS:
            raise InvalidValueError(
                f"ClusterConfig.centroid_init must be one of "
                f"{', '.join(CENTROID_INITS)}, got {self.centroid_init!r}."
            )
        for key, settings in self.layers.rules.items():
            if unknown := set(settings or ()) - {"num_clusters", "centroid_init"}:
                raise InvalidValueError(
                    f"The rule for layer {key!r} sets {sorted(unknown)[0]!r}, which "
                    "clustering cannot set by layer. Settings: num_clusters, "
                    "centroid_init."
                )
            if settings:  # its values are checked as the config's own are
                dataclasses.replace(self, layers=LayerRules(), **settings)


def cluster(model, config, training=None, *, finetune=True):
    """Clusters the weights of a copy of `model`.

    Args:
        model: flat functional tf_keras model; it is left as it was.
        config: `ClusterConfig`.
        training: `Training` to fine-tune with, or `None`: nearest centroids, once.
        finetune: whether `training` is fitted.
    Returns:
        `(clustered, report)`: a tf_keras model of the same layers, stripped of every
        wrapper, and a `CompressionReport` with a row for every layer.
    Raises:
        InvalidValueError: if a rule matches no layer or a layer cannot be clustered
            although a rule names it.

    Example: `clustered, report = cluster(model, ClusterConfig(num_clusters=16))`
    """
    import tensorflow as tf

    plan = _plan(model, config)
    tf.random.set_seed(config.seed)
    wrapped = _wrap(model, plan)
    training_log = None
    if training is not None and finetune:
        training_log = training.fit(wrapped)
    clustered = _strip(wrapped, model)
    rows, structures = _measure(clustered, plan)
    report = CompressionReport(
        rows=rows, structures=structures, training_log=training_log
    )
    return clustered, report


@dataclasses.dataclass(frozen=True)
class _LayerPlan:
    """What is to be done with one layer, decided before anything is trained."""

    row: LayerRow
    settings: ClusterConfig | None  # None: not to be clustered
    num_clusters: int = 0  # what the tensor has values for


def _plan(model, config):
    """Returns layer name -> `_LayerPlan`, in model order."""
    kinds = {layer.name: type(layer).__name__ for layer in model.layers}
    overrides = config.layers.plan(kinds)
    return {
        layer.name: _plan_layer(layer, config, overrides[layer.name])
        for layer in model.layers
    }


def _plan_layer(layer, config, override):
    kind = type(layer).__name__
    named = config.layers.names(layer.name, kind)

    def leave(status, reason, requested=None):
        row = LayerRow(
            name=layer.name,
            kind=kind,
            status=status,
            reason=reason,
            requested=requested or {},
        )
        return _LayerPlan(row, None)

    if override is None:
        return leave(LEFT_ALONE, "a rule leaves it alone")
    weights = cluster_lookup.clusterable_weights(layer)
    if not weights:
        if not layer.weights:
            return leave(LEFT_ALONE, "it has no weights")
        if named:
            raise InvalidValueError(
                f"Layer {layer.name!r} ({kind}) cannot be clustered: it has no kernel "
                f"that clustering knows. Leave it alone with layers={{{layer.name!r}: "
                "None}, or take the rule that names it away."
            )
        return leave(LEFT_ALONE, "it has no kernel that clustering knows")
    if kind in cluster_lookup.ONLY_WHEN_NAMED and not named:
        return leave(LEFT_ALONE, "a depthwise kernel is clustered only when named")
    if layer.compute_dtype == "float16":
        raise InvalidValueError(
            f"Layer {layer.name!r} ({kind}) computes in float16, in which TFMOT cannot "
            "cluster. Build the model with the dtype policy float32 or mixed_bfloat16."
        )
    settings = dataclasses.replace(config, layers=LayerRules(), **override)
    requested = {
        "num_clusters": settings.num_clusters,
        "centroid_init": settings.centroid_init,
    }
    name, num_values = _fewest_values(weights)
    if num_values < MIN_CLUSTERS:
        return leave(SKIPPED, f"all weights of {name} have one value", requested)
    num_clusters = min(settings.num_clusters, num_values)
    reason = None
    if num_clusters < settings.num_clusters:
        reason = (
            f"{num_clusters} clusters instead of {settings.num_clusters}: "
            f"{name} has {num_values} distinct values"
        )
    if _feeds_batch_norm(layer):
        warning = "a BatchNormalization follows, which exporting multiplies into it"
        reason = f"{reason}; {warning}" if reason else f"{warning}: fold it first"
    row = LayerRow(
        name=layer.name,
        kind=kind,
        status=COMPRESSED,
        reason=reason,
        requested=requested,
    )
    return _LayerPlan(row, settings, num_clusters)


def _feeds_batch_norm(layer):
    """Whether a BatchNormalization takes the outputs of `layer`."""
    readers = (node.layer for node in layer.outbound_nodes)
    return any(type(reader).__name__ == "BatchNormalization" for reader in readers)


def _fewest_values(weights):
    """Returns the name of the weight with the fewest distinct values, and how many."""
    counts = {
        name: measure_weight(weight.numpy())["distinct_values"]
        for name, weight in weights.items()
    }
    name = min(counts, key=counts.get)
    return name, counts[name]


def _wrap(model, plan):
    """Returns a copy of `model` whose planned layers are wrapped by TFMOT."""
    import tensorflow_model_optimization as tfmot
    import tf_keras

    inits = tfmot.clustering.keras.CentroidInitialization

    def wrap(layer):
        todo = plan[layer.name]
        if todo.settings is None:
            return layer.__class__.from_config(layer.get_config())
        name = todo.settings.centroid_init
        # TFMOT has to start somewhere; its linear init is the cheapest.
        init = inits.LINEAR if name == "kmeans" else inits[name.upper()]
        return cluster_lookup.wrap_layer(
            layer, todo.num_clusters, init, todo.settings.refresh_steps
        )

    wrapped = tf_keras.models.clone_model(model, clone_function=wrap)
    for name, todo in plan.items():
        if todo.settings is None:
            wrapped.get_layer(name).set_weights(model.get_layer(name).get_weights())
        else:
            _set_centroids(_wrapper(wrapped, name), model.get_layer(name), todo)
    return wrapped


def _set_centroids(wrapper, layer, todo):
    import numpy as np

    centroids = cluster_lookup.get_centroids(wrapper)
    if todo.settings.centroid_init == "kmeans":
        for name, weight in cluster_lookup.clusterable_weights(layer).items():
            found = kmeans_1d(weight.numpy(), todo.num_clusters)
            # Fewer where two means fall on one float: the last one is repeated.
            padding = (0, todo.num_clusters - found.size)
            centroids[name] = np.pad(found, padding, mode="edge")
    if not all(np.isfinite(array).all() for array in centroids.values()):
        raise InvalidValueError(
            f"The centroid_init {todo.settings.centroid_init!r} gives centroids that "
            f"are no numbers for layer {layer.name!r}. Try another there, or leave it "
            f"alone: layers={{{layer.name!r}: None}}."
        )
    cluster_lookup.set_centroids(wrapper, centroids)


def _wrapper(wrapped, name):
    """Returns the wrapper around the layer `name`; TFMOT prefixes its name."""
    return wrapped.get_layer(f"cluster_{name}")


def _strip(wrapped, model):
    """Returns a copy of `model` with the clustered weights of `wrapped`."""
    import tensorflow_model_optimization as tfmot
    import tf_keras

    for layer in wrapped.layers:
        if hasattr(layer, "cluster_centroids"):
            cluster_lookup.refresh_assignments(layer)
    stripped = tfmot.clustering.keras.strip_clustering(wrapped)
    result = tf_keras.models.clone_model(model)
    for layer in result.layers:
        layer.set_weights(stripped.get_layer(layer.name).get_weights())
    return result


def _measure(clustered, plan):
    """Returns the rows with what was measured, and the codebooks."""
    import numpy as np

    rows, structures = [], {}
    for name, todo in plan.items():
        row = todo.row
        if todo.settings is not None:
            weights = cluster_lookup.clusterable_weights(clustered.get_layer(name))
            arrays = {key: variable.numpy() for key, variable in weights.items()}
            stripped = {key: measure_weight(array) for key, array in arrays.items()}
            row = dataclasses.replace(row, stripped=stripped)
            for key, array in arrays.items():
                structures[name, key] = {"codebook": np.unique(array)}
        rows.append(row)
    return tuple(rows), structures


def _check_int(name, value, low, high):
    is_int = isinstance(value, int) and not isinstance(value, bool)
    if not is_int or value < low or (high is not None and value > high):
        limits = f"from {low} to {high}" if high is not None else f"of at least {low}"
        raise InvalidValueError(
            f"ClusterConfig.{name} must be a whole number {limits}, got {value!r}."
        )
