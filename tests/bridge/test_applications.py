"""The smallest model of each family of keras.applications crosses and comes back."""

import keras
import numpy as np
import pytest
import tensorflow_model_optimization as tfmot
import tf_keras
from keras.src.applications import convnext, inception_resnet_v2
from tensorflow_model_optimization.python.core.sparsity.keras.prune_registry import (
    PruneRegistry,
)

from experiments.check_applications import (
    chosen_models,
    forget_weights,
    make_model,
    relative_difference,
    relative_spread,
)
from tfcompress.bridge import to_keras3, to_tf_keras

L = keras.layers

# Family -> its smallest member; the check_applications experiment takes them all.
SMALLEST = {
    "ConvNeXt": "ConvNeXtTiny",
    "DenseNet": "DenseNet121",
    "EfficientNetB": "EfficientNetB0",
    "EfficientNetV2": "EfficientNetV2B0",
    "InceptionResNetV2": "InceptionResNetV2",
    "InceptionV3": "InceptionV3",
    "MobileNetV2": "MobileNetV2",
    "MobileNetV3": "MobileNetV3Small",
    "NASNet": "NASNetMobile",
    "ResNet50V2 ResNet101V2 ResNet152V2": "ResNet50V2",
    "ResNet": "ResNet50",
    "VGG": "VGG16",
    "Xception": "Xception",
    "MobileNet": "MobileNet",
}


def test_every_model_of_keras_has_a_family_here():
    families = tuple(" ".join(SMALLEST).split())
    assert len(chosen_models([])) >= 40
    assert all(name.startswith(families) for name in chosen_models([]))


@pytest.mark.parametrize("name", SMALLEST.values())
def test_smallest_model_of_a_family_agrees_and_its_weights_come_back(name):
    model, images = make_model(name)
    expected = model(images).numpy()
    relative_spread(expected)  # refuses logits that do not depend on the image
    flat = to_tf_keras(model)
    assert relative_difference(expected, flat(images).numpy()) <= 1e-5
    assert [layer.name for layer in flat.layers[1:] if not _is_prunable(layer)] == []
    forget_weights(model)
    returned = to_keras3(model, flat)(images).numpy()
    np.testing.assert_array_equal(returned, expected)
    keras.backend.clear_session()


def _is_prunable(layer):
    """Whether `prune_low_magnitude` takes the layer; wrapping all would take longer."""
    return hasattr(layer, "get_prunable_weights") or PruneRegistry.supports(layer)


def _features(seed=0):
    rng = np.random.default_rng(seed)
    return rng.uniform(0.5, 1.5, (400, 3, 2, 4)).astype("float32")


def _model(layer):
    inputs = keras.Input((3, 2, 4))
    return keras.Model(inputs, layer(inputs))


def test_layer_scale_is_one_weight_that_comes_back(difference):
    model = _model(convnext.LayerScale(1e-6, 4, name="scale"))
    model.layers[1].gamma.assign([1.0, -2.0, 3.0, 0.5])
    flat = to_tf_keras(model)
    assert [weight.shape.as_list() for weight in flat.get_layer("scale").weights] == [
        [4]
    ]
    assert difference(model(_features()), flat(_features())) <= 1e-6
    flat.get_layer("scale").gamma.assign([4.0, 3.0, 2.0, 1.0])
    returned = to_keras3(model, flat)
    np.testing.assert_array_equal(returned.layers[1].gamma, [4.0, 3.0, 2.0, 1.0])


def test_stochastic_depth_drops_whole_examples_in_training_alone():
    model = _model(convnext.StochasticDepth(0.25))
    flat = to_tf_keras(model)
    features = _features()
    np.testing.assert_array_equal(flat(features), features)
    for output in (model(features, training=True), flat(features, training=True)):
        output = np.asarray(output)
        dropped = (output == 0.0).all((1, 2, 3))
        assert 0.15 < dropped.mean() < 0.35
        np.testing.assert_allclose(output[~dropped], features[~dropped] / 0.75, 1e-6)


def test_stochastic_depth_called_twice_is_one_leaf():
    layer = convnext.StochasticDepth(0.25, name="depth")
    flat = to_tf_keras(_model(lambda inputs: layer(layer(inputs))))
    assert [x.name for x in flat.layers][1:] == ["depth"]


def test_scaled_residual_adds_the_scaled_branch_to_the_shortcut():
    inputs = [keras.Input((3, 2, 4)), keras.Input((3, 2, 4))]
    layer = inception_resnet_v2.CustomScaleLayer(0.25)
    flat = to_tf_keras(keras.Model(inputs, layer(inputs)))
    shortcut, branch = _features(0), _features(1)
    np.testing.assert_allclose(
        flat([shortcut, branch]), shortcut + 0.25 * branch, rtol=1e-6
    )


def test_layers_of_applications_compute_in_mixed_precision(difference):
    inputs = keras.Input((3, 2, 4))
    scaled = convnext.LayerScale(0.5, 4, dtype="mixed_bfloat16")(inputs)
    outputs = inception_resnet_v2.CustomScaleLayer(0.25, dtype="mixed_bfloat16")(
        [scaled, scaled]
    )
    model = keras.Model(inputs, outputs)
    flat = to_tf_keras(model)
    assert flat.output.dtype == "bfloat16"
    assert difference(model(_features()), flat(_features())) == 0.0


def test_image_model_is_pruned_as_a_whole():
    inputs = keras.Input((3, 2, 4))
    x = L.Rescaling([0.5, 1.0, 1.5, 2.0], [0.0, 0.1, 0.2, 0.3])(inputs)
    x = L.Normalization(mean=[0.1, 0.2, 0.3, 0.4], variance=[1.0, 2.0, 3.0, 4.0])(x)
    x = convnext.LayerScale(0.5, 4)(L.Conv2D(4, 1)(x))
    model = keras.Model(inputs, convnext.StochasticDepth(0.25)(x))
    pruned = tfmot.sparsity.keras.prune_low_magnitude(to_tf_keras(model))
    stripped = tfmot.sparsity.keras.strip_pruning(pruned)
    returned = to_keras3(model, stripped)
    np.testing.assert_allclose(returned(_features()), model(_features()), rtol=1e-6)


def test_layers_of_applications_are_saved_with_the_flat_model(tmp_path, difference):
    model = _model(convnext.LayerScale(0.5, 4))
    flat = to_tf_keras(model)
    flat.save(tmp_path / "flat.keras")
    loaded = tf_keras.models.load_model(tmp_path / "flat.keras")
    assert difference(flat(_features()), loaded(_features())) == 0.0
