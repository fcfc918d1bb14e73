"""Weight clustering: each weight tensor keeps at most `num_clusters` distinct values.

Use it where the file has to be small: a clustered tensor is a codebook and packed
indices, 4 bits a weight at 16 clusters. Without training the weights are moved to the
nearest centroid, once; with training, centroids and assignments move on. Depthwise
kernels are left alone unless a rule names the layer; normalization and biases always
are: vectors are small.

Source: Han et al., Deep Compression (arXiv:1510.00149), section 3. The constraint is in
`methods/codebooks.py`, where centroids begin in `methods/centroids.py`.
"""

import concurrent.futures
import dataclasses
from collections.abc import Iterator

import numpy as np

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
from tfcompress.methods import centroids
from tfcompress.methods.constrained import constrain, strip
from tfcompress.methods.layer_weights import ONLY_WHEN_NAMED, compressible_weights
from tfcompress.methods.sensitivity import SENSITIVITIES, fisher_information
from tfcompress.methods.training_needs import (
    TrainingNeed,
    check_dtypes,
    check_training,
)
from tfcompress.training import fit_model

# Ours first, then TFMOT's, by the names of its CentroidInitialization.
CENTROID_INITS = ("kmeans", "linear", "density_based", "random", "kmeans_plus_plus")
GRANULARITIES = ("per_tensor", "per_channel")
MIN_CLUSTERS, MAX_CLUSTERS = 2, 256  # indices of 1 to 8 bits
_LAYER_SETTINGS = ("num_clusters", "granularity", "block_size", "centroid_init")
# In means of the tensor; chosen on MiniLM (docs/decisions/clustering.md).
_FISHER_DAMPING = 1.0
_NUM_THREADS = 2  # numpy sorts and sums outside of Python's lock


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClusterConfig:
    """Settings of `cluster`.

    Args:
        num_clusters: distinct values a codebook has, zero included, 2 to 256.
        granularity: `"per_tensor"`: one codebook for a weight; `"per_channel"`: one for
            each channel of its output axis.
        block_size: `None`, or the number of weights along the input axis (of an
            embedding: along the row) that share a float16 scale, at least 2. The tensor
            has one codebook; a value is an entry of it times the scale.
        centroid_init: `"kmeans"` (the one-dimensional optimum) or one of TFMOT's
            `"linear"`, `"density_based"`, `"random"`, `"kmeans_plus_plus"`.
        keep_zeros: whether the zeros of a pruned weight stay zeros, and are one of the
            clusters; zeros that are fewer than 1 in 100,000 weights are not kept.
        sensitivity: `None`: all weights count alike in k-means; `"fisher"`: as much as
            the loss depends on them (`methods/sensitivity.py`), which takes training
            data and no fine-tuning.
        sensitivity_examples: training examples for it, at least 1.
        refresh_steps: optimizer steps for which assignments are kept. 1 assigns in
            every step; more costs less (docs/decisions/clustering.md).
        seed: of the inits that draw.
        finetune: whether to fit `training`, where there is one.
        layers: `LayerRules`; a rule may override `num_clusters`, `granularity`,
            `block_size` and `centroid_init`.
    """

    num_clusters: int = 16
    granularity: str = "per_tensor"
    block_size: int | None = None
    centroid_init: str = "kmeans"
    keep_zeros: bool = True
    sensitivity: str | None = None
    sensitivity_examples: int = 256
    refresh_steps: int = 20
    seed: int = 0
    finetune: bool = True
    layers: LayerRules = LayerRules()

    def __post_init__(self):
        _check_int("num_clusters", self.num_clusters, MIN_CLUSTERS, MAX_CLUSTERS)
        _check_int("sensitivity_examples", self.sensitivity_examples, 1, None)
        _check_int("refresh_steps", self.refresh_steps, 1, None)
        _check_int("seed", self.seed, 0, None)
        if self.block_size is not None:
            _check_int("block_size", self.block_size, 2, None)
        _check_choice("granularity", self.granularity, GRANULARITIES)
        _check_choice("centroid_init", self.centroid_init, CENTROID_INITS)
        if self.sensitivity is not None:
            _check_choice("sensitivity", self.sensitivity, SENSITIVITIES)
        for name in ("keep_zeros", "finetune"):
            if not isinstance(getattr(self, name), bool):
                raise InvalidValueError(
                    f"ClusterConfig.{name} must be True or False, got "
                    f"{getattr(self, name)!r}."
                )
        self._check_together()
        for key, settings in self.layers.rules.items():
            if unknown := set(settings or ()) - set(_LAYER_SETTINGS):
                raise InvalidValueError(
                    f"The rule for layer {key!r} sets {sorted(unknown)[0]!r}, which "
                    "clustering cannot set by layer. Settings: "
                    f"{', '.join(_LAYER_SETTINGS)}."
                )
            if settings:  # its values are checked as the config's own are
                dataclasses.replace(self, layers=LayerRules(), **settings)

    def training_needs(self, is_fitted: bool) -> Iterator[TrainingNeed]:
        """Yields what clustering needs of a training, as of `check_training`."""
        if self.sensitivity is not None:
            yield TrainingNeed(
                f"ClusterConfig.sensitivity={self.sensitivity!r}",
                "is measured on training examples",
                ("batches", "loss"),
                "set sensitivity=None",
            )

    def _check_together(self):
        if self.block_size is not None and self.granularity != "per_tensor":
            raise InvalidValueError(
                f"ClusterConfig.block_size={self.block_size!r} gives a tensor one "
                f"codebook, and granularity={self.granularity!r} one a channel. Take "
                "one of the two."
            )
        if self.sensitivity is not None and self.centroid_init != "kmeans":
            raise InvalidValueError(
                f"ClusterConfig.sensitivity={self.sensitivity!r} weighs the values of "
                f"k-means, and centroid_init={self.centroid_init!r} does not. Take "
                "centroid_init='kmeans', or sensitivity=None."
            )


def cluster(model, config, training=None, *, finetune=True):
    """Clusters the weights of a copy of `model`.

    Args:
        model: flat functional tf_keras model; it is left as it was.
        config: `ClusterConfig`.
        training: `Training` to fine-tune with and to measure sensitivity on, or
            `None`: nearest centroids, once.
        finetune: whether `training` may be fitted; `config.finetune` too must say so.
    Returns:
        `(clustered, report)`: a tf_keras model of the same layers, stripped of every
        wrapper, and a `CompressionReport` with a row for every layer. Beside what
        `measure_weight` says of a weight stand `clusters_used` (of the channel that
        uses most), `mean_squared_error` (against the weight before) and
        `optimal_mean_squared_error` (of k-means on the weight before).
    Raises:
        InvalidValueError: if a rule matches no layer, a layer cannot be clustered
            although a rule names it, sensitivity has no training to be measured on, or
            a layer that computes in float16 is to be fine-tuned.

    Example: `clustered, report = cluster(model, ClusterConfig(num_clusters=16))`
    """
    import tensorflow as tf

    is_fitted = training is not None and finetune and config.finetune
    check_training(config, training, is_fitted)
    plan = plan_clusters(model, config)
    if is_fitted:
        check_dtypes(model, [todo.row for todo in plan.values()])
    tf.random.set_seed(config.seed)
    before = _weights(model, plan)
    importance = {}
    if config.sensitivity is not None:
        importance = fisher_information(
            model,
            list(before),
            training,
            config.sensitivity_examples,
            damping=_FISHER_DAMPING,
        )
    constraints, optima = _fit_codebooks(before, plan, importance)
    wrapped = constrain(model, constraints)
    training_log = fit_model(training, wrapped) if is_fitted else None
    clustered = strip(wrapped, model)
    rows, structures = _measure(clustered, plan, (before, constraints, optima))
    report = CompressionReport(
        rows=rows, structures=structures, training_log=training_log
    )
    return clustered, report


@dataclasses.dataclass(frozen=True)
class _LayerPlan:
    """What is to be done with one layer, decided before anything is trained."""

    row: LayerRow
    weights: dict  # weight name -> `WeightPlan`; empty: not to be clustered


def plan_clusters(model, config):
    """Returns layer name -> what is clustered of it, in model order.

    Raises:
        InvalidValueError: if a rule matches no layer, or a layer cannot be clustered
            although a rule names it.
    """
    kinds = {layer.name: type(layer).__name__ for layer in model.layers}
    overrides = config.layers.plan(kinds)
    return {
        layer.name: _plan_layer(layer, config, overrides[layer.name])
        for layer in model.layers
    }


def _plan_layer(layer, config, override):
    """Returns the `_LayerPlan` of a layer; `override` is what its rule sets."""
    kind = type(layer).__name__
    named = config.layers.names(layer.name, kind)
    if reason := _reason_to_leave(layer, override, named):
        return _LayerPlan(_row(layer, LEFT_ALONE, reason), {})
    settings = dataclasses.replace(config, layers=LayerRules(), **override)
    requested = {
        name: getattr(settings, name)
        for name in _LAYER_SETTINGS
        if name != "block_size" or settings.block_size is not None
    }
    weights = compressible_weights(layer)
    arrays = {name: weight.numpy() for name, weight in weights.items()}
    _check_finite(layer, arrays)
    if obstacle := _obstacle(arrays, kind, settings):
        if named and override.get("block_size"):
            raise _cannot_be_clustered(layer, obstacle)
        return _LayerPlan(_row(layer, SKIPPED, obstacle, requested), {})
    plans, remarks = {}, []
    for name, array in arrays.items():
        plans[name], remark = _plan_weight(name, array, kind, settings)
        remarks += remark
    reason = "; ".join(remarks) or None
    return _LayerPlan(_row(layer, COMPRESSED, reason, requested), plans)


def _reason_to_leave(layer, override, named):
    """Returns why a layer is not clustered, or `None`; a rule may insist and raise."""
    if override is None:
        return "a rule leaves it alone"
    if not layer.weights:
        return "it has no weights"
    if not compressible_weights(layer):
        reason = "it has no kernel that clustering knows"
        if named:
            raise _cannot_be_clustered(layer, reason)
        return reason
    if type(layer).__name__ in ONLY_WHEN_NAMED and not named:
        return "a depthwise kernel is clustered only when named"
    return None


def _row(layer, status, reason, requested=None):
    return LayerRow(
        name=layer.name,
        kind=type(layer).__name__,
        status=status,
        reason=reason,
        requested=requested or {},
    )


def _cannot_be_clustered(layer, obstacle):
    return InvalidValueError(
        f"Layer {layer.name!r} ({type(layer).__name__}) cannot be clustered: "
        f"{obstacle}. Leave it alone with layers={{{layer.name!r}: None}}, or take the "
        "rule that names it away."
    )


def _check_finite(layer, arrays):
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise InvalidValueError(
                f"Weight {name!r} of layer {layer.name!r} ({type(layer).__name__}) has "
                "values that are not finite. Check the training that made it, or leave "
                f"the layer alone with layers={{{layer.name!r}: None}}."
            )


def _obstacle(arrays, kind, settings):
    """Returns why the weights of a layer cannot be clustered, or `None`."""
    for name, array in arrays.items():
        if measure_weight(array)["distinct_values"] < MIN_CLUSTERS:
            return f"all weights of {name} have one value"
        if settings.block_size is None:
            continue
        axis = centroids.input_axis(kind, array.ndim)
        if array.shape[axis] % settings.block_size:
            return (
                f"block_size {settings.block_size} does not divide axis {axis} of "
                f"{name}, shape {array.shape}"
            )
        if np.abs(array).max() > centroids.MAX_SCALE:
            return (
                f"{name} has magnitudes above {centroids.MAX_SCALE:.0f}, the largest "
                "float16 scale"
            )
    return None


def _plan_weight(name, array, kind, settings):
    """Returns the `WeightPlan` of a weight, and remarks on what differs from it."""
    num_values = measure_weight(array)["distinct_values"]
    num_clusters = min(settings.num_clusters, num_values)
    remarks = []
    if num_clusters < settings.num_clusters:
        remarks.append(
            f"{num_clusters} clusters instead of {settings.num_clusters}: "
            f"{name} has {num_values} distinct values"
        )
    is_blocked = settings.block_size is not None
    is_per_channel = settings.granularity == "per_channel"
    plan = centroids.WeightPlan(
        num_clusters=num_clusters,
        centroid_init=settings.centroid_init,
        keeps_zeros=settings.keep_zeros and centroids.has_zeros_to_keep(array),
        channel_axis=centroids.output_axis(kind, array.ndim)
        if is_per_channel
        else None,
        block_axis=centroids.input_axis(kind, array.ndim) if is_blocked else None,
        block_size=settings.block_size,
        refresh_steps=settings.refresh_steps,
    )
    return plan, remarks


def _weights(model, plan):
    """Returns `(layer name, weight name)` -> array of every weight to be clustered."""
    return {
        (name, key): weight.numpy()
        for name, todo in plan.items()
        for key, weight in compressible_weights(model.get_layer(name)).items()
        if key in todo.weights
    }


def _fit_codebooks(before, plan, importance):
    """Returns the constraints, as `constrain` takes them, and the least errors."""

    def fit(key):
        name, weight = key
        return centroids.fit(
            before[key], plan[name].weights[weight], importance.get(key)
        )

    inits = {p.centroid_init for todo in plan.values() for p in todo.weights.values()}
    # TFMOT's inits draw from one sequence, which has to be drawn in order.
    num_threads = _NUM_THREADS if inits <= {"kmeans"} else 1
    with concurrent.futures.ThreadPoolExecutor(num_threads) as pool:
        fitted = dict(zip(before, pool.map(fit, before), strict=True))
    constraints, optima = {}, {}
    for (name, weight), (constraint, optimum) in fitted.items():
        constraints.setdefault(name, {})[weight] = constraint
        optima[name, weight] = optimum
    return constraints, optima


def _measure(clustered, plan, fitted):
    """Returns the rows with what was measured, and the structures."""
    before, constraints, optima = fitted
    rows, structures = [], {}
    for name, todo in plan.items():
        stripped = {}
        for key, variable in compressible_weights(clustered.get_layer(name)).items():
            if key not in todo.weights:
                continue
            array = variable.numpy()
            error = np.square(array - before[name, key], dtype=np.float64)
            constraint = constraints[name][key]
            stripped[key] = measure_weight(array) | {
                "clusters_used": constraint.num_used(),
                "mean_squared_error": float(error.mean()),
                "optimal_mean_squared_error": optima[name, key],
            }
            structures[name, key] = constraint.structure()
        rows.append(dataclasses.replace(todo.row, stripped=stripped))
    return tuple(rows), structures


def _check_int(name, value, low, high):
    is_int = isinstance(value, int) and not isinstance(value, bool)
    if not is_int or value < low or (high is not None and value > high):
        limits = f"from {low} to {high}" if high is not None else f"of at least {low}"
        raise InvalidValueError(
            f"ClusterConfig.{name} must be a whole number {limits}, got {value!r}."
        )


def _check_choice(name, value, choices):
    if value not in choices:
        raise InvalidValueError(
            f"ClusterConfig.{name} must be one of {', '.join(choices)}, got {value!r}."
        )
