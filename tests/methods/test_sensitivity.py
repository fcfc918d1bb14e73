"""The diagonal Fisher information on models whose gradients are known by hand."""

import numpy as np
import pytest
import tf_keras

from tfcompress.data.dataset import Dataset, Split
from tfcompress.errors import InvalidValueError
from tfcompress.methods import ClusterConfig, PruneConfig, cluster, prune
from tfcompress.methods.sensitivity import fisher_information
from tfcompress.training import ArrayTraining, TrainingConfig


class Batches:
    """A training that has batches and a loss, and cannot be fitted."""

    def __init__(self, *batches):
        self._batches = batches
        self.num_asked = None

    def batches(self, n):
        self.num_asked = n
        yield from self._batches[:n]

    def loss(self, labels, logits):
        return (logits[:, 0] - labels) ** 2


def dense(kernel):
    inputs = tf_keras.Input((len(kernel),), name="x")
    layer = tf_keras.layers.Dense(1, use_bias=False, name="dense")
    model = tf_keras.Model(inputs, layer(inputs))
    layer.set_weights([np.float32(kernel)[:, None]])
    return model


def embedding():
    """Returns a model that adds up one-dimensional embeddings of zero."""
    inputs = tf_keras.Input((None,), dtype="int32", name="ids")
    layer = tf_keras.layers.Embedding(
        4, 1, name="table", embeddings_initializer="zeros"
    )
    total = tf_keras.layers.GlobalAveragePooling1D()(layer(inputs))
    return tf_keras.Model(inputs, total)


def test_fisher_is_the_mean_square_of_each_examples_gradient():
    inputs = {"x": np.float32([[1, 0], [0, 2], [1, 0]])}
    training = Batches((inputs, np.float32([1, 1, 2])))
    model = dense([0, 0])
    before = [array.copy() for array in model.get_weights()]
    found = fisher_information(model, [("dense", "kernel")], training, 3, damping=0)
    # Gradients -2 y x: [-2, 0], [0, -4], [-4, 0]; their squares add up to [20, 16].
    expected = np.float32([[20 / 3], [16 / 3]])
    np.testing.assert_allclose(found["dense", "kernel"], expected, rtol=1e-6)
    np.testing.assert_array_equal(model.get_weights()[0], before[0])


def test_fisher_takes_the_first_examples_over_batches():
    first = ({"x": np.float32([[1, 0]])}, np.float32([1]))
    second = ({"x": np.float32([[0, 1], [7, 7]])}, np.float32([1, 1]))
    found = fisher_information(
        dense([0, 0]), [("dense", "kernel")], Batches(first, second), 2, damping=0
    )
    np.testing.assert_allclose(found["dense", "kernel"], [[2], [2]])


def test_fisher_damping_adds_means_of_the_tensor():
    training = Batches(({"x": np.float32([[2, 0]])}, np.float32([1])))
    found = fisher_information(
        dense([0, 0]), [("dense", "kernel")], training, 1, damping=0.5
    )
    # Squares [16, 0], their mean 8.
    np.testing.assert_allclose(found["dense", "kernel"], [[20], [4]])


def test_fisher_with_fewer_examples_than_asked_takes_all():
    training = Batches(({"x": np.float32([[1, 0]])}, np.float32([1])))
    found = fisher_information(
        dense([0, 0]), [("dense", "kernel")], training, 9, damping=1
    )
    np.testing.assert_allclose(found["dense", "kernel"], [[6], [2]])


def test_fisher_of_an_embedding_adds_the_gradients_of_a_row_before_the_square():
    ids = {"ids": np.int32([[0, 0, 0, 1]])}
    training = Batches((ids, np.float32([4])), ({"ids": ids["ids"][:, :2]}, [0.0]))
    found = fisher_information(
        embedding(), [("table", "embeddings")], training, 2, damping=1
    )
    # Gradient -8 times the shares 3/4 and 1/4; the second example's label is met.
    squares = np.float32([36, 4, 0, 0]) / 2
    expected = squares + squares.mean()
    np.testing.assert_allclose(found["table", "embeddings"][:, 0], expected, rtol=1e-6)


def test_fisher_without_any_gradient_is_small_and_the_same_for_all():
    training = Batches(({"x": np.float32([[1, 0]])}, np.float32([0])))
    found = fisher_information(
        dense([0, 5]), [("dense", "kernel")], training, 1, damping=1
    )
    np.testing.assert_allclose(found["dense", "kernel"], [[1e-20], [1e-20]])


def test_fisher_with_a_gradient_that_is_not_finite_raises():
    training = Batches(({"x": np.float32([[np.inf, 0]])}, np.float32([1])))
    with pytest.raises(InvalidValueError, match="'kernel' of layer 'dense' is not fin"):
        fisher_information(dense([1, 1]), [("dense", "kernel")], training, 1, damping=1)


def test_fisher_of_a_model_with_several_inputs_takes_them_by_name():
    a, b = (tf_keras.Input((1,), name=name) for name in "ab")
    layer = tf_keras.layers.Dense(1, use_bias=False, name="dense")
    joined = tf_keras.layers.Concatenate()([b, a])
    model = tf_keras.Model({"b": b, "a": a}, layer(joined))
    layer.set_weights([np.zeros((2, 1), np.float32)])
    training = Batches(({"a": np.ones((1, 1)), "b": np.zeros((1, 1))}, np.float32([1])))
    found = fisher_information(model, [("dense", "kernel")], training, 1, damping=1)
    np.testing.assert_allclose(found["dense", "kernel"], [[2], [6]])


def test_cluster_by_sensitivity_without_training_raises():
    with pytest.raises(InvalidValueError, match="sensitivity='fisher' is measured on"):
        cluster(dense([1, 2]), ClusterConfig(sensitivity="fisher"))


def test_cluster_by_sensitivity_moves_centroids_to_what_matters():
    """Only the first of two near weights decides the loss: its value is kept better."""
    inputs = {"x": np.float32([[1, 0, 0]] * 4)}
    training = Batches((inputs, np.float32([0, 1, 2, 3])))
    config = ClusterConfig(num_clusters=2, sensitivity="fisher", finetune=False)
    clustered, report = cluster(dense([1.0, 1.2, 9.0]), config, training)
    # Importances 3 + 1, 1 and 1: (4 * 1 + 1 * 1.2) / 5.
    kernel = clustered.get_layer("dense").get_weights()[0]
    np.testing.assert_allclose(kernel.ravel(), [1.04, 1.04, 9])
    found = report.rows[-1].stripped["kernel"]
    assert found["optimal_mean_squared_error"] == pytest.approx(0.02 / 3, rel=1e-4)
    assert found["mean_squared_error"] > 0.02 / 3


def test_prune_by_fisher_takes_what_the_loss_misses_least():
    """The largest weight decides nothing: it goes first."""
    inputs = {"x": np.float32([[1, 1, 0.1]] * 4)}
    training = Batches((inputs, np.float32([0, 1, 2, 3])))
    config = PruneConfig(1 / 3, criterion="fisher", finetune=False)
    pruned, _ = prune(dense([1.0, 2.0, 3.0]), config, training)
    # Fisher 100 : 100 : 1 and a damping of 6.7: 107, 427 and 69.
    kernel = pruned.get_layer("dense").get_weights()[0]
    np.testing.assert_allclose(kernel.ravel(), [1, 2, 0])


def test_prune_by_fisher_without_training_raises():
    with pytest.raises(InvalidValueError, match="criterion 'fisher' is measured on"):
        prune(dense([1, 2]), PruneConfig(0.5, criterion="fisher"))


@pytest.mark.parametrize(("units", "activation"), [(1, "sigmoid"), (3, "softmax")])
def test_fisher_of_probabilities_is_that_of_their_logits(units, activation):
    """The loss is the one that training takes for a model that ends so."""
    rng = np.random.default_rng(0)
    split = Split({"x": rng.normal(size=(20, 4)).astype(np.float32)}, np.arange(20) % 3)
    if units == 1:
        split = Split(split.inputs, np.arange(20) % 2)
    names = ["a", "b", "c"][: max(units, 2)]
    training = ArrayTraining(
        Dataset.from_splits(split, split, split, names), TrainingConfig(epochs=1)
    )
    kernel = rng.normal(size=(4, units))

    def measure(end):
        inputs = tf_keras.Input((4,), name="x")
        layer = tf_keras.layers.Dense(units, end, name="dense", use_bias=False)
        model = tf_keras.Model(inputs, layer(inputs))
        layer.set_weights([kernel])
        key = ("dense", "kernel")
        return fisher_information(model, [key], training, 20, damping=0)[key]

    np.testing.assert_allclose(measure(activation), measure(None), rtol=1e-4)
