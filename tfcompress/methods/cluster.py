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

import numpy as np

from tfcompress.compression_report import CompressionReport, measure_weight
from tfcompress.methods import centroids
from tfcompress.methods.constrained import constrain, strip
from tfcompress.methods.layer_weights import weight_place
from tfcompress.methods.sensitivity import fisher_information

# In means of the tensor; chosen on MiniLM (docs/decisions/clustering.md).
_FISHER_DAMPING = 1.0
_NUM_THREADS = 2  # numpy sorts and sums outside of Python's lock


def run_clustering(model, plan, fitting):
    """Clusters the weights of a copy of `model`.

    Args:
        model: flat functional tf_keras model; it is left as it was.
        plan: `Plan` of `plan_clusters`.
        fitting: `Fitting`: the training to fine-tune with and to measure sensitivity
            on. Not fitted: nearest centroids, once.
    Returns:
        `(clustered, report)`: a tf_keras model of the same layers, stripped of every
        wrapper, and a `CompressionReport` with a row for every layer. Beside what
        `measure_weight` says of a weight stand `clusters_used` (of the channel that
        uses most), `mean_squared_error` (against the weight before) and
        `optimal_mean_squared_error` (of k-means on the weight before).
    """
    import tensorflow as tf

    config = plan.config
    tf.random.set_seed(config.seed)
    before = {place: _variable(model, place).numpy() for place in plan.work}
    importance = {}
    if config.sensitivity is not None:
        importance = fisher_information(
            model,
            list(before),
            fitting.training,
            config.sensitivity_examples,
            damping=_FISHER_DAMPING,
        )
    constraints, optima = _fit_codebooks(before, plan.work, importance)
    wrapped = constrain(model, constraints)
    training_log = fitting.fit(wrapped)
    clustered = strip(wrapped, model)
    rows, structures = _measure(clustered, plan, (before, constraints, optima))
    report = CompressionReport(
        rows=rows, structures=structures, training_log=training_log
    )
    return clustered, report


def _variable(model, place):
    layer, weight = place
    return getattr(*weight_place(model.get_layer(layer), weight))


def _fit_codebooks(before, plans, importance):
    """Returns the constraints, as `constrain` takes them, and the least errors."""

    def fit(place):
        return centroids.fit(before[place], plans[place], importance.get(place))

    inits = {plan.centroid_init for plan in plans.values()}
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
    stripped, structures = {}, {}
    for place, array_before in before.items():
        layer, weight = place
        array = _variable(clustered, place).numpy()
        error = np.square(array - array_before, dtype=np.float64)
        constraint = constraints[layer][weight]
        stripped.setdefault(layer, {})[weight] = measure_weight(array) | {
            "clusters_used": constraint.num_used(),
            "mean_squared_error": float(error.mean()),
            "optimal_mean_squared_error": optima[place],
        }
        structures[place] = constraint.structure()
    rows = tuple(
        dataclasses.replace(row, stripped=stripped.get(row.name, {}))
        for row in plan.rows
    )
    return rows, structures
