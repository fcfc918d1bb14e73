"""TFMOT's weight clustering with a lookup of our own.

TFMOT assigns weights to centroids through a float tensor of weights x clusters, in
every step. Here centroids are sorted and every weight is searched among the midpoints,
so no such tensor exists, and assignments are kept for a number of steps before they are
made again. Both come in through TFMOT's own extension point, a `ClusterableLayer` that
names its `ClusteringAlgorithm`; training goes on as TFMOT defines it: the gradient of a
clustered weight reaches its centroid (summed) and, straight through, the weight itself.

Source: TFMOT 0.8.1, clustering/keras; Han et al., Deep Compression (arXiv:1510.00149),
section 3, for the centroids' gradient.
"""

import functools

# tf_keras layer type -> the weight that TFMOT clusters in it. Depthwise kernels are
# few weights with much to say: they are clustered only where a rule names the layer.
_WEIGHTS = {
    "Dense": "kernel",
    "Embedding": "embeddings",
    "Conv1D": "kernel",
    "Conv2D": "kernel",
    "Conv3D": "kernel",
    "Conv1DTranspose": "kernel",
    "Conv2DTranspose": "kernel",
    "Conv3DTranspose": "kernel",
    "SeparableConv1D": "pointwise_kernel",
    "SeparableConv2D": "pointwise_kernel",
    "DepthwiseConv2D": "depthwise_kernel",
}
ONLY_WHEN_NAMED = frozenset({"DepthwiseConv2D"})
_RECURRENT = frozenset({"LSTM", "GRU", "SimpleRNN"})


def wrap_layer(layer, num_clusters, init, refresh_steps):
    """Wraps a copy of a built tf_keras layer with TFMOT's clustering.

    Args:
        layer: built tf_keras layer with `clusterable_weights`; it is left as it is.
        num_clusters: int, at least 2, at most the number of distinct weights.
        init: `tfmot.clustering.keras.CentroidInitialization`.
        refresh_steps: number of calls for which assignments are kept.
    Returns:
        TFMOT's `ClusterWeights` layer, built when it is called.
    """
    import tensorflow_model_optimization as tfmot

    clusterable = _clusterable_class(type(layer), refresh_steps)
    copy = clusterable.from_config(layer.get_config())
    copy.build_from_config(layer.get_build_config())
    copy.set_weights(layer.get_weights())
    return tfmot.clustering.keras.cluster_weights(
        copy, number_of_clusters=num_clusters, cluster_centroids_init=init
    )


def clusterable_weights(layer):
    """Returns the weights to cluster in a built layer; none for most layer types.

    Args:
        layer: tf_keras layer.
    Returns:
        Dict of weight name to variable. TFMOT numbers the cells of recurrent layers in
        the names: `"kernel/0"`, `"recurrent_kernel/0"`; of a `Bidirectional`, cell 0 is
        the forward one.
    """
    kind = type(layer).__name__
    if kind in _WEIGHTS:
        return {_WEIGHTS[kind]: getattr(layer, _WEIGHTS[kind])}
    parts = [layer]
    if kind == "Bidirectional":
        parts = [layer.forward_layer, layer.backward_layer]
    if any(type(part).__name__ not in _RECURRENT for part in parts):
        return {}
    return {
        f"{name}/{number}": getattr(part.cell, name)
        for number, part in enumerate(parts)
        for name in ("kernel", "recurrent_kernel")
    }


def get_centroids(wrapper):
    """Returns weight name -> centroids of a wrapped layer, float32 arrays."""
    return {n: variable.numpy() for n, variable in wrapper.cluster_centroids.items()}


def set_centroids(wrapper, centroids):
    """Sets the centroids of a wrapped layer.

    Args:
        wrapper: TFMOT's wrapper, built.
        centroids: weight name -> float32 array, shape `(num_clusters,)`.
    """
    for name, variable in wrapper.cluster_centroids.items():
        variable.assign(centroids[name])
    refresh_assignments(wrapper)


def refresh_assignments(wrapper):
    """Makes the next call of a wrapped layer assign its weights anew."""
    for name, algorithm in wrapper.clustering_algorithms.items():
        algorithm.assignments = wrapper.pulling_indices[name]
        algorithm.num_calls.assign(0)


@functools.cache
def _clusterable_class(layer_class, refresh_steps):
    """Returns `layer_class` as TFMOT wants a layer with its own lookup."""
    import tensorflow_model_optimization as tfmot

    class Clusterable(layer_class, tfmot.clustering.keras.ClusterableLayer):
        def get_clusterable_weights(self):
            return list(clusterable_weights(self).items())

        def get_clusterable_algorithm(self, weight_name):
            return _lookup_class(refresh_steps)

    Clusterable.__name__ = layer_class.__name__
    return Clusterable


@functools.cache
def _lookup_class(refresh_steps):
    """Returns the `ClusteringAlgorithm` that keeps assignments for `refresh_steps`."""
    import tensorflow as tf
    import tensorflow_model_optimization as tfmot

    class SortedLookup(tfmot.clustering.keras.ClusteringAlgorithm):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self.num_calls = tf.Variable(0, trainable=False, dtype=tf.int64)
            self.assignments = None  # TFMOT's variable, known once it is built

        def get_pulling_indices(self, weight, centroids=None):
            if self.assignments is None:
                return _assign(weight, self.cluster_centroids)
            is_due = self.num_calls % refresh_steps == 0
            self.num_calls.assign_add(1)
            return tf.cond(
                is_due,
                lambda: _assign(weight, self.cluster_centroids),
                self.assignments.read_value,
            )

        def get_clustered_weight(self, pulling_indices, original_weight):
            return _look_up(self.cluster_centroids, original_weight, pulling_indices)

    @tf.custom_gradient
    def look_up(centroids, weight, indices):
        num_clusters = centroids.shape[0]

        def gradient(upstream):
            # A tenth of unsorted_segment_sum's time: it adds up in parallel.
            of_centroids = tf.raw_ops.DenseBincount(
                input=tf.reshape(indices, [-1]),
                size=tf.constant(num_clusters, indices.dtype),
                weights=tf.reshape(upstream, [-1]),
                binary_output=False,
            )
            return of_centroids, upstream, None

        return tf.gather(centroids, indices), gradient

    def _look_up(centroids, weight, indices):
        # Variables inside a custom gradient would need a rule of their own.
        return look_up(tf.identity(centroids), tf.identity(weight), indices)

    def _assign(weight, centroids):
        order = tf.argsort(centroids)
        ordered = tf.gather(centroids, order)
        midpoints = (ordered[1:] + ordered[:-1]) / 2
        position = tf.searchsorted(midpoints, tf.reshape(weight, [-1]), side="right")
        indices = tf.gather(tf.cast(order, tf.int64), position)
        return tf.reshape(indices, weight.shape)

    return SortedLookup
