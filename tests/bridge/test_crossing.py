"""Whole models there and back: structure, names, dtypes, TFMOT and saved files."""

import importlib.util
import os
import subprocess
import sys

import keras
import numpy as np
import tensorflow_model_optimization as tfmot
import tf_keras

from tfcompress.bridge import to_keras3, to_tf_keras

L = keras.layers


def _classifier():
    """A tiny model with most kinds of weights: 16 x 16 x 3 images, 4 classes."""
    return keras.Sequential(
        [
            keras.Input((16, 16, 3), name="image"),
            L.Conv2D(8, 3, use_bias=False, name="conv"),
            L.BatchNormalization(name="norm"),
            L.ReLU(name="relu"),
            L.DepthwiseConv2D(3, name="depthwise"),
            L.GlobalAveragePooling2D(name="pool"),
            L.Dense(4, name="logits"),
        ],
        name="classifier",
    )


def _images(seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(3, 16, 16, 3)).astype("float32")


def _layer_names(model):
    return [
        layer.name
        for layer in model.layers
        if not isinstance(layer, tf_keras.layers.InputLayer)
    ]


def test_nested_models_become_flat_with_names_of_the_source(randomize, difference):
    inner = keras.Sequential([keras.Input((6,)), L.Dense(5, name="a")], name="inner")
    middle_input = keras.Input((6,))
    middle = keras.Model(
        middle_input,
        L.Dense(5, name="a")(middle_input) + inner(middle_input),
        name="mid",
    )
    inputs = keras.Input((6,), name="inputs")
    outputs = L.Dense(2, name="a")(middle(inputs))
    model = randomize(keras.Model(inputs, outputs, name="outer"))
    flat = to_tf_keras(model)
    names = [layer.name for layer in flat.layers if layer.weights]
    assert sorted(names) == ["a", "mid/a", "mid/inner/a"]
    assert not any(isinstance(layer, tf_keras.Model) for layer in flat.layers)
    arrays = np.random.default_rng(0).normal(size=(3, 6)).astype("float32")
    assert difference(model(arrays), flat(arrays)) <= 1e-5
    assert flat.name == "outer"


def test_shared_layers_and_models_stay_shared(randomize, difference):
    block = keras.Sequential(
        [keras.Input((6,)), L.Dense(6, name="twice", activation="tanh")], name="block"
    )
    dense = L.Dense(6, name="dense")
    inputs = keras.Input((6,))
    model = randomize(keras.Model(inputs, dense(block(dense(block(inputs))))))
    flat = to_tf_keras(model)
    assert _layer_names(flat) == ["block/twice", "dense"]
    arrays = np.random.default_rng(0).normal(size=(3, 6)).astype("float32")
    assert difference(model(arrays), flat(arrays)) <= 1e-5


def test_layer_of_a_nested_model_used_outside_too_is_one_leaf(randomize, difference):
    inner = keras.Sequential([keras.Input((6,)), L.Dense(6, name="d")], name="inner")
    inputs = keras.Input((6,))
    outputs = inner.get_layer("d")(inner(inputs))
    model = randomize(keras.Model(inputs, outputs))
    flat = to_tf_keras(model)
    assert _layer_names(flat) == ["inner/d"]
    arrays = np.random.default_rng(0).normal(size=(3, 6)).astype("float32")
    assert difference(model(arrays), flat(arrays)) <= 1e-5


def test_dictionaries_and_lists_of_tensors_keep_their_structure(randomize, difference):
    inputs = {
        "ids": keras.Input((4,), dtype="int32", name="ids"),
        "extra": keras.Input((4, 3), name="extra"),
    }
    embedded = L.Embedding(9, 3)(inputs["ids"])
    joined = L.Concatenate()([embedded, inputs["extra"]])
    outputs = {"sum": L.Dense(2)(joined), "pair": [joined, L.Flatten()(embedded)]}
    model = randomize(keras.Model(inputs, outputs))
    flat = to_tf_keras(model)
    arrays = {
        "ids": np.array([[1, 2, 3, 8]], "int32"),
        "extra": np.ones((1, 4, 3), "float32"),
    }
    received = flat(arrays)
    assert set(received) == {"sum", "pair"}
    assert len(received["pair"]) == 2
    assert difference(model(arrays), received) <= 1e-5
    assert flat.input["ids"].dtype == "int32"
    assert flat.input["ids"].shape == (None, 4)


def test_nested_model_called_with_dictionary_finds_its_inputs(randomize, difference):
    one, two = keras.Input((3,), name="one"), keras.Input((3,), name="two")
    inner = keras.Model([one, two], L.Subtract()([one, two]))
    inputs = keras.Input((3,))
    outputs = inner({"two": L.Dense(3)(inputs), "one": inputs})
    model = randomize(keras.Model(inputs, outputs))
    arrays = np.random.default_rng(0).normal(size=(3, 3)).astype("float32")
    assert difference(model(arrays), to_tf_keras(model)(arrays)) <= 1e-5


def test_nested_model_called_with_another_dtype_casts(randomize, difference):
    inner = keras.Sequential([keras.Input((3,)), L.Dense(2, name="d")], name="inner")
    inputs = keras.Input((3,), dtype="int32", name="numbers")
    model = randomize(keras.Model(inputs, inner(inputs)))
    arrays = np.array([[1, 2, 3]], "int32")
    assert difference(model(arrays), to_tf_keras(model)(arrays)) <= 1e-5


def test_inputs_keep_names_dtypes_and_shapes():
    inputs = [
        keras.Input((), dtype="float32", name="number"),
        keras.Input((None, 3), batch_size=2, dtype="float16", name="steps"),
    ]
    outputs = [L.Rescaling(2.0)(tensor) for tensor in inputs]
    flat = to_tf_keras(keras.Model(inputs, outputs))
    assert [tensor.name for tensor in flat.inputs] == ["number", "steps"]
    assert [tensor.dtype.name for tensor in flat.inputs] == ["float32", "float16"]
    assert [tuple(tensor.shape) for tensor in flat.inputs] == [(None,), (2, None, 3)]


def test_mixed_precision_keeps_the_dtype_policies(randomize, difference):
    model = keras.Sequential(
        [
            keras.Input((6,)),
            L.Dense(8, dtype="mixed_bfloat16", name="mixed"),
            L.BatchNormalization(dtype="mixed_bfloat16", name="norm"),
            L.Dense(3, dtype="float32", name="logits"),
        ]
    )
    randomize(model)
    flat = to_tf_keras(model)
    mixed = flat.get_layer("mixed")
    assert mixed.compute_dtype == "bfloat16"
    assert mixed.kernel.dtype == "float32"
    assert flat.output.dtype == "float32"
    arrays = np.random.default_rng(0).normal(size=(3, 6)).astype("float32")
    assert difference(model(arrays), flat(arrays)) <= 2e-2
    np.testing.assert_array_equal(mixed.kernel, model.get_layer("mixed").kernel)


def test_trainable_flags_are_kept():
    inner = keras.Sequential([keras.Input((4,)), L.Dense(3, name="a")], name="inner")
    inner.trainable = False
    model = keras.Sequential(
        [keras.Input((4,)), inner, L.Dense(3, name="b"), L.Dense(2, name="c")]
    )
    model.get_layer("b").trainable = False
    flat = to_tf_keras(model)
    trainable = {layer.name: layer.trainable for layer in flat.layers if layer.weights}
    assert trainable == {"inner/a": False, "b": False, "c": True}


def test_training_in_a_recorded_call_leaves_training_to_fit():
    # Keras 3 records it for each Dropout, and lets fit and predict override it.
    inputs = keras.Input((100,))
    model = keras.Model(inputs, L.Dropout(0.5, seed=0)(inputs, training=False))
    flat = to_tf_keras(model)
    ones = np.ones((1, 100), "float32")
    assert set(np.unique(flat(ones, training=True))) == {0.0, 2.0}
    np.testing.assert_array_equal(flat(ones, training=False), ones)


def test_names_that_a_scope_cannot_hold_are_written_otherwise(difference):
    model = keras.Sequential(
        [
            keras.Input((4,), name="my input"),
            L.Dense(3, name="my layer"),
            L.Dense(2, name="_head"),
        ]
    )
    flat = to_tf_keras(model)
    assert [layer.name for layer in flat.layers] == [
        "my_input",
        "my_layer",
        "layer_head",
    ]
    ones = np.ones((1, 4), "float32")
    assert difference(model(ones), to_keras3(model, flat)(ones)) <= 1e-5


def test_source_is_left_as_it_was(randomize):
    model = randomize(_classifier())
    weights = [value.copy() for value in model.get_weights()]
    num_calls = [len(layer._inbound_nodes) for layer in model.layers]
    flat = to_tf_keras(model)
    flat.set_weights([value + 1.0 for value in flat.get_weights()])
    to_keras3(model, flat)
    for before, after in zip(weights, model.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)
    assert [len(layer._inbound_nodes) for layer in model.layers] == num_calls


def test_dropped_regularizers_are_logged_in_one_line(caplog):
    layers = [
        L.Dense(
            2, kernel_regularizer="l2", bias_constraint="non_neg", name=f"d{number}"
        )
        for number in range(7)
    ]
    to_tf_keras(keras.Sequential([keras.Input((2,)), *layers]))
    assert [record.getMessage() for record in caplog.records] == [
        "Without effect in the tf_keras model: kernel_regularizer of 'd0', 'd1', 'd2', "
        "'d3', 'd4' and 2 more; bias_constraint of 'd0', 'd1', 'd2', 'd3', 'd4' and 2 "
        "more"
    ]


def test_clustered_weights_come_back(randomize, difference):
    model = randomize(_classifier())
    wrapped = tfmot.clustering.keras.cluster_weights(
        to_tf_keras(model),
        number_of_clusters=4,
        cluster_centroids_init=(tfmot.clustering.keras.CentroidInitialization.LINEAR),
    )
    clustered = tfmot.clustering.keras.strip_clustering(wrapped)
    back = to_keras3(model, clustered)
    assert len(np.unique(back.get_layer("conv").kernel)) <= 4
    assert len(np.unique(back.get_layer("logits").kernel)) <= 4
    assert difference(clustered(_images()), back(_images())) <= 1e-5


def test_pruned_weights_come_back(randomize, difference):
    model = randomize(_classifier())
    wrapped = tfmot.sparsity.keras.prune_low_magnitude(
        to_tf_keras(model), tfmot.sparsity.keras.ConstantSparsity(0.5, 0, frequency=1)
    )
    wrapped.compile(loss="mse")
    wrapped.fit(
        _images(),
        np.zeros((3, 4)),
        batch_size=1,
        callbacks=[tfmot.sparsity.keras.UpdatePruningStep()],
        verbose=0,
    )
    pruned = tfmot.sparsity.keras.strip_pruning(wrapped)
    back = to_keras3(model, pruned)
    assert np.mean(back.get_layer("conv").kernel.numpy() == 0.0) == 0.5
    assert difference(pruned(_images()), back(_images())) <= 1e-5


def test_mobilenet_crosses_both_ways(randomize_norms, difference):
    model = keras.applications.MobileNetV2(
        weights=None, input_shape=(32, 32, 3), alpha=0.35, classifier_activation=None
    )
    randomize_norms(model)
    images = np.random.default_rng(0).normal(size=(2, 32, 32, 3)).astype("float32")
    flat = to_tf_keras(model)
    assert difference(model(images), flat(images)) <= 1e-5
    flat.set_weights([value * 1.01 for value in flat.get_weights()])
    back = to_keras3(model, flat)
    assert difference(flat(images), back(images)) <= 1e-5


def test_saved_copy_loads_where_the_package_is_unknown(tmp_path, randomize):
    model = randomize(_classifier())
    flat = to_tf_keras(model)
    flat.set_weights([value * 2.0 for value in flat.get_weights()])
    back = to_keras3(model, flat)
    back.save(tmp_path / "back.keras")
    np.save(tmp_path / "images.npy", _images())
    code = (
        "import sys, numpy; sys.modules['tfcompress'] = None; import keras; "
        "model = keras.saving.load_model('back.keras'); "
        "numpy.save('outputs.npy', model.predict(numpy.load('images.npy'), verbose=0))"
    )
    environment = {
        name: value
        for name, value in os.environ.items()
        # Importing TFMOT sets it, and with it tf.keras is tf_keras.
        if name not in ("TF_USE_LEGACY_KERAS", "PYTHONPATH")
    }
    has_jax = importlib.util.find_spec("jax") is not None
    environment["KERAS_BACKEND"] = "jax" if has_jax else "tensorflow"
    subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, check=True
    )
    np.testing.assert_allclose(
        np.load(tmp_path / "outputs.npy"),
        back(_images()),
        rtol=1e-4,
        atol=1e-5,
    )
