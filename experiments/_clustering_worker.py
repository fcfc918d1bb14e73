"""Measures one thing for `benchmark_clustering`, in a process of its own.

    python -m experiments._clustering_worker REQUEST.json ANSWER.json

The request names a `task`: "step" trains a BERT for a few steps, plain, clustered by
TFMOT or by us; "kmeans" finds the codebooks of all weights of a BERT.
"""

import concurrent.futures
import statistics
import time

import numpy as np

from tfcompress.evaluate import answer_call
from tfcompress.evaluate.memory import peak_rss_bytes
from tfcompress.models.backbones import (
    RANDOM_POSITIONS,
    RANDOM_SHAPES,
    add_head,
    random_backbone,
)

VOCABULARY_SIZE = 30_522  # of BERT, uncased
BATCH_SIZE, LENGTH = 32, 64
NUM_CLASSES = 3
# Steps that are not timed: they trace, allocate, and assign once where we assign every
# second step.
WARM_STEPS = 2
# Here every second step assigns weights to centroids anew, so that both kinds of steps
# are seen; by default every 20th does.
_REFRESH_STEPS, DEFAULT_REFRESH_STEPS = 2, 20
_CHUNK_SIZE = 1 << 20
# Tails of fine-tuned kernels: 1 in 1000 weights is beyond 5 standard deviations.
_DEGREES_OF_FREEDOM, _SCALE = 4, 0.03


def measure(request):
    """Does what a request asks for; returns a dict of JSON values."""
    values = _TASKS[request.pop("task")](**request)
    return values | {"peak_rss_bytes": peak_rss_bytes()}


def measure_step(method, preset, num_clusters, steps, seed):
    """Trains for some steps.

    Args:
        method: "plain"; "stock": TFMOT with its defaults on every Dense and Embedding;
            or "ours": `tfcompress.methods.cluster` with its defaults.
        preset: key of `RANDOM_SHAPES`.
        num_clusters: int; ignored for "plain".
        steps: steps to time, at least 2.
        seed: of weights and data.
    Returns:
        Dict: `step_seconds`, of a step in the long run; `all_step_seconds`, of the
        steps one by one; `setup_seconds`, from the flat model to the first step;
        `num_weights`.
    """
    from tfcompress.bridge import to_tf_keras

    backbone = random_backbone(preset, VOCABULARY_SIZE, dropout=0.1, seed=seed)
    model = to_tf_keras(add_head(backbone, NUM_CLASSES, dropout=0.1, seed=seed))
    del backbone
    training = TimedTraining(_make_training(steps, seed))
    began = time.perf_counter()
    _METHODS[method](model, num_clusters, training)
    seconds = training.timer.seconds[WARM_STEPS:]
    values = {
        "all_step_seconds": seconds,
        "step_seconds": statistics.median(seconds),
        "setup_seconds": training.timer.first_began - began,
        "num_weights": model.count_params(),
    }
    if method == "ours":
        # The first timed step is an odd one; even ones assign.
        usual, assigning = map(statistics.median, (seconds[0::2], seconds[1::2]))
        values["assigning_step_seconds"] = assigning
        values["step_seconds"] = usual + (assigning - usual) / DEFAULT_REFRESH_STEPS
    return values


class TimedTraining:
    """A `Training` that times the steps of another's `fit`."""

    def __init__(self, training):
        self._training = training
        self.timer = None
        self.num_steps = training.num_steps
        self.batches = training.batches
        self.loss = training.loss

    def fit(self, model, callbacks=()):
        """Trains `model` as the other does."""
        self.timer = _step_timer()
        return self._training.fit(model, [*callbacks, self.timer])


def measure_kmeans(tool, preset, num_clusters, num_threads, seed):
    """Finds the codebooks of all weights of a BERT, tensor by tensor.

    Args:
        tool: "ours" or "scikit-learn".
        preset: key of `RANDOM_SHAPES`.
        num_clusters: of each tensor.
        num_threads: of ours; scikit-learn has those of the environment.
        seed: of the weights and of scikit-learn's first centroids.
    Returns:
        Dict: `seconds`, `mean_squared_error`, `num_weights`, `num_tensors`.
    """
    fit = {"ours": _our_centroids, "scikit-learn": _sklearn_centroids}[tool]
    tensors = [
        draw_weights(shape, seed + number)
        for number, shape in enumerate(weight_shapes(preset))
    ]
    fit(tensors[-1], 2, seed)  # imports, and threads that are started once
    began = time.perf_counter()
    with concurrent.futures.ThreadPoolExecutor(num_threads) as pool:
        found = list(pool.map(lambda array: fit(array, num_clusters, seed), tensors))
    seconds = time.perf_counter() - began
    errors = map(_squared_error, tensors, found)
    num_weights = sum(array.size for array in tensors)
    return {
        "seconds": seconds,
        "mean_squared_error": sum(errors) / num_weights,
        "num_weights": num_weights,
        "num_tensors": len(tensors),
    }


def weight_shapes(preset):
    """Returns the shapes of all kernels and tables of a classifier.

    >>> sum(rows * columns for rows, columns in weight_shapes("base"))
    109362432
    """
    num_layers, width, _ = RANDOM_SHAPES[preset]
    layer = [(width, width)] * 4 + [(width, 4 * width), (4 * width, width)]
    tables = [(VOCABULARY_SIZE, width), (RANDOM_POSITIONS, width), (2, width)]
    return [*tables, *layer * num_layers, (width, width), (width, NUM_CLASSES)]


def draw_weights(shape, seed):
    """Returns a float32 array of random weights whose tails are heavy."""
    rng = np.random.default_rng(seed)
    normal = rng.standard_normal(shape, np.float32)
    # Student's t.
    spread = rng.chisquare(_DEGREES_OF_FREEDOM, shape[0]).astype(np.float32)
    normal *= np.float32(_SCALE) / np.sqrt(spread / _DEGREES_OF_FREEDOM)[:, None]
    return normal


def _plain(model, _, training):
    training.fit(model)


def _stock(model, num_clusters, training):
    import tensorflow_model_optimization as tfmot
    import tf_keras

    def wrap(layer):
        kinds = (tf_keras.layers.Dense, tf_keras.layers.Embedding)
        if not isinstance(layer, kinds):
            return layer.__class__.from_config(layer.get_config())
        return tfmot.clustering.keras.cluster_weights(
            layer, number_of_clusters=num_clusters
        )

    training.fit(tf_keras.models.clone_model(model, clone_function=wrap))


def _ours(model, num_clusters, training):
    from tfcompress.methods import ClusterConfig, cluster

    config = ClusterConfig(num_clusters=num_clusters, refresh_steps=_REFRESH_STEPS)
    cluster(model, config, training)


def _make_training(steps, seed):
    """Returns an `ArrayTraining` of one epoch of random texts at full length."""
    from tfcompress.data.dataset import Dataset, Split
    from tfcompress.training import ArrayTraining, TrainingConfig

    rng = np.random.default_rng(seed)

    def split(size):
        inputs = {
            "token_ids": rng.integers(5, VOCABULARY_SIZE, (size, LENGTH)),
            "padding_mask": np.ones((size, LENGTH)),
            "segment_ids": np.zeros((size, LENGTH)),
        }
        arrays = {name: array.astype(np.int32) for name, array in inputs.items()}
        return Split(arrays, rng.integers(0, NUM_CLASSES, size))

    dataset = Dataset.from_splits(
        train=split((WARM_STEPS + steps) * BATCH_SIZE),
        validation=split(2),
        test=split(2),
        class_names=[str(number) for number in range(NUM_CLASSES)],
    )
    config = TrainingConfig(
        epochs=1, batch_size=BATCH_SIZE, learning_rate=5e-5, optimizer="adamw"
    )
    return ArrayTraining(dataset, config)


def _step_timer():
    """Returns a callback that keeps the seconds of each step."""
    import tf_keras

    class StepTimer(tf_keras.callbacks.Callback):
        """Notes when the first step began and how long each took."""

        def __init__(self):
            super().__init__()
            self.first_began = None
            self.seconds = []
            self._began = None

        def on_train_batch_begin(self, batch, logs=None):
            self._began = time.perf_counter()
            if self.first_began is None:
                self.first_began = self._began

        def on_train_batch_end(self, batch, logs=None):
            self.seconds.append(time.perf_counter() - self._began)

    return StepTimer()


def _our_centroids(array, num_clusters, _):
    from tfcompress.methods.kmeans import kmeans_1d

    return kmeans_1d(array, num_clusters)


def _sklearn_centroids(array, num_clusters, seed):
    from sklearn.cluster import KMeans

    model = KMeans(n_clusters=num_clusters, n_init=1, random_state=seed)
    return np.sort(model.fit(array.reshape(-1, 1)).cluster_centers_.ravel())


def _squared_error(array, centroids):
    from tfcompress.methods.kmeans import nearest_centroid

    flat, total = array.ravel(), 0.0
    for begin in range(0, flat.size, _CHUNK_SIZE):
        part = flat[begin : begin + _CHUNK_SIZE]
        error = part - centroids[nearest_centroid(part, centroids)]
        total += float(np.square(error, dtype=np.float64).sum())
    return total


_METHODS = {"plain": _plain, "stock": _stock, "ours": _ours}
_TASKS = {"step": measure_step, "kmeans": measure_kmeans}

if __name__ == "__main__":
    answer_call(measure)
