"""Clustering by stock TFMOT: `cluster_weights` on the layers of a bridged model."""

import dataclasses

import numpy as np

from tfcompress.compression_report import CompressionReport, measure_weight
from tfcompress.methods.cluster_config import MIN_CLUSTERS
from tfcompress.methods.cluster_plan import plan_clusters
from tfcompress.methods.constrained import copy_built
from tfcompress.methods.layer_weights import ONLY_WHEN_NAMED, weight_place
from tfcompress.methods.method import Plan
from tfcompress.methods.stock.wrapping import (
    fresh_copy,
    obstacle,
    one_line_refusals,
    restrict,
    wrap,
)

_DEFAULT_INIT = "kmeans_plus_plus"
_MIN_WITH_ZEROS = 3  # TFMOT: "must be greater than 2" with preserve_sparsity


def plan_stock_clusters(model, config):
    """Decides what TFMOT clusters; arguments and result are as of `plan_clusters`."""
    plan = plan_clusters(model, config)
    by_layer = {}
    for (layer, weight), of_weight in plan.work.items():
        by_layer.setdefault(layer, {})[weight] = of_weight

    def takes(row):
        layer = model.get_layer(row.name)
        if reason := obstacle(layer):
            return reason
        if not layer.trainable:
            return "it is frozen, and TFMOT clusters what trains"
        if row.kind in ONLY_WHEN_NAMED or not _is_clusterable(layer):
            return f"TFMOT clusters nothing in layers of type {row.kind}"
        for weight, of_weight in by_layer[row.name].items():
            values = getattr(*weight_place(layer, weight)).numpy()
            if row.kind.startswith("Conv2D") and values.size <= of_weight.num_clusters:
                return f"TFMOT clusters no convolution of {values.size} weights so"
            if of_weight.keeps_zeros and (
                reason := _zeros_obstacle(values, of_weight.num_clusters)
            ):
                return reason
        return None

    rows, left = restrict(plan, takes)
    rows = tuple(_with_init(row) for row in rows)
    work = {
        place: dataclasses.replace(of_weight, centroid_init=_init(of_weight))
        for place, of_weight in plan.work.items()
        if place[0] not in left
    }
    return Plan(config, rows, work)


def run_stock_clustering(model, plan, fitting):
    """Clusters a copy of `model`; arguments and result are as of `run_clustering`.

    Not fitted: what TFMOT's wrappers make of the weights as they are.
    """
    import tensorflow as tf
    import tensorflow_model_optimization as tfmot

    stock = tfmot.clustering.keras
    tf.random.set_seed(plan.config.seed)
    # One setting a layer, as a wrapper has: a layer's weights share it.
    settings = {layer: of_weight for (layer, _), of_weight in plan.work.items()}
    keeping = {
        layer for (layer, _), of_weight in plan.work.items() if of_weight.keeps_zeros
    }

    def wrapper(layer):
        init = settings[layer.name].centroid_init.upper()
        return stock.cluster_weights(
            layer,
            settings[layer.name].num_clusters,
            stock.CentroidInitialization[init],
            preserve_sparsity=layer.name in keeping,
        )

    with one_line_refusals("cluster"):
        wrapped = wrap(model, settings.keys(), wrapper)
    log = fitting.fit(wrapped)
    with one_line_refusals("cluster"):
        stripped = stock.strip_clustering(wrapped)
    clustered = fresh_copy(model, lambda name: stripped.get_layer(name).get_weights())
    rows, structures = _measure(model, clustered, plan)
    return clustered, CompressionReport(
        rows=rows, structures=structures, training_log=log
    )


def _measure(model, clustered, plan):
    """Returns the rows with what was measured, and the codebooks as structures."""
    found, structures = {}, {}
    for layer, weight in plan.work:
        before, after = (
            getattr(*weight_place(each.get_layer(layer), weight)).numpy()
            for each in (model, clustered)
        )
        error = np.square(after - before, dtype=np.float64).mean()
        measured = measure_weight(after)
        found.setdefault(layer, {})[weight] = measured | {
            "clusters_used": measured["distinct_values"],
            "mean_squared_error": float(error),
        }
        structures[layer, weight] = {"codebook": np.unique(after)}
    rows = tuple(
        dataclasses.replace(row, stripped=found.get(row.name, {})) for row in plan.rows
    )
    return rows, structures


def _is_clusterable(layer):
    """Whether TFMOT takes a layer; it says so by raising."""
    import tensorflow_model_optimization as tfmot

    init = tfmot.clustering.keras.CentroidInitialization.LINEAR
    try:  # of a convolution it asks for weights
        tfmot.clustering.keras.cluster_weights(copy_built(layer), MIN_CLUSTERS, init)
    except ValueError:
        return False
    return True


def _zeros_obstacle(values, num_clusters):
    """Returns why TFMOT cannot cluster a weight and keep its zeros, or `None`."""
    if num_clusters < _MIN_WITH_ZEROS:
        return f"TFMOT keeps zeros only in {_MIN_WITH_ZEROS} clusters or more"
    num_nonzero = np.count_nonzero(values)
    if num_nonzero < num_clusters - 1:  # where 0.0 and -0.0 count as two values
        return (
            f"it has {num_nonzero} weights for {num_clusters - 1} of TFMOT's clusters"
        )
    return None


def _init(settings):
    init = settings.centroid_init
    return _DEFAULT_INIT if init == "kmeans" else init


def _with_init(row):
    """Returns the row with the init that TFMOT begins from."""
    if row.requested.get("centroid_init") != "kmeans":
        return row
    return dataclasses.replace(
        row, requested=row.requested | {"centroid_init": _DEFAULT_INIT}
    )
