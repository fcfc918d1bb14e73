"""Tests of size sections on real files: what a layer's weights are in them."""

import dataclasses
import functools

import keras
import numpy as np
import pytest

from tfcompress.compress import compress
from tfcompress.evaluate import read_weights
from tfcompress.formats.target import Target
from tfcompress.runner.artifacts import ArtifactMaker
from tfcompress.runner.rows import Row
from tfcompress.runner.sizing import compression_ratio, layer_weights, size_section
from tfcompress.tasks import classification

ROW = Row(name="clustered", recipe="cluster(16)")
HEADS = classification(["no", "yes"]).heads


def build(norm):
    """Builds a model with layers `a` and `b` of one shape and `norm` between them."""
    layers = keras.layers
    inputs = keras.Input((64,), name="x")
    x = norm(layers.Dense(64, name="a")(inputs))
    x = layers.Dense(64, "relu", name="b")(x)
    return keras.Model(inputs, layers.Dense(2, name="logits")(x), name="net")


@pytest.fixture(scope="module")
def clustered():
    """`a` and `b` of 16 values, and a BatchNormalization after `a` not folded."""
    rng = np.random.default_rng(0)
    source = build(keras.layers.Identity(name="norm"))
    for name in ("a", "b"):
        kernel = rng.normal(size=(64, 64))
        source.get_layer(name).set_weights([kernel, np.zeros(64)])
    result = compress(source, ROW.recipe)
    model = build(keras.layers.BatchNormalization(name="norm"))
    for layer in result.model.layers:
        if layer.weights:
            model.get_layer(layer.name).set_weights(layer.get_weights())
    model.get_layer("norm").set_weights(rng.uniform(0.5, 2, (4, 64)))
    return dataclasses.replace(result, model=model)


@pytest.fixture(scope="module")
def sized(clustered, tmp_path_factory):
    """Function: fields of a target -> its `(size, layers by name)`."""
    maker = ArtifactMaker(
        tmp_path_factory.mktemp("artifacts"), versions={}, heads=HEADS
    )
    layers = clustered.report.to_json()
    weights = functools.cache(lambda: layer_weights(clustered.model, layers))

    @functools.cache
    def measure(format, precision="float32", coding="dense"):
        if precision != "float32":
            measure(format)
        target = Target(format=format, precision=precision, coding="dense")
        parts = (lambda: clustered.model, lambda: clustered.structures)
        dense = artifact = maker.make(ROW, target, *parts)
        if coding == "coded":
            target = Target(format=format, precision=precision, coding=coding)
            artifact = maker.make(ROW, target, *parts)
        plain = maker.plain_of(ROW, target)
        size, found = size_section(artifact, dense, plain, layers, weights)
        return size, {row["name"]: row["exported"] for row in found}

    def dense(format):
        measure(format)
        artifact = maker.dense_of(ROW, Target(format=format))
        files = artifact.manifest.model_files
        return read_weights(format, artifact.folder, files, {64 * 64})

    measure.dense = dense
    return measure


def values(layers, name):
    return layers[name]["kernel"]["distinct_values"]


@pytest.mark.parametrize("coding", ["dense", "coded"])
def test_size_section_tells_layers_of_one_shape_apart(sized, clustered, coding):
    """TFLite's converter multiplies the BatchNormalization into one of the kernels."""
    size, layers = sized("tflite", coding=coding)
    counts = {name: values(layers, name) for name in ("a", "b")}
    kept = min(counts, key=counts.get)
    folded = max(counts, key=counts.get)
    assert counts[kept] == 16
    assert counts[folded] == size["max_distinct_values"] > 900
    assert values(layers, "logits") == 16
    # Which of the two it is: its own 16 values are those in the file.
    kernel = clustered.model.get_layer(kept).get_weights()[0]
    in_file = {tuple(np.unique(array)) for array in sized.dense("tflite").values()}
    assert tuple(np.unique(kernel)) in in_file
    code = {"dense": "dense", "coded": "codebook"}[coding]
    assert layers[kept]["kernel"]["code"] == code
    assert layers[folded]["kernel"]["code"] == "dense"


@pytest.mark.parametrize("format", ["keras", "onnx", "openvino"])
def test_size_section_of_formats_that_fold_nothing(sized, format):
    size, layers = sized(format)
    assert {values(layers, name) for name in ("a", "b", "logits")} == {16}
    assert size["max_distinct_values"] == 16


@pytest.mark.parametrize("format", ["onnx", "openvino"])
def test_size_section_finds_float16(sized, format):
    _, layers = sized(format, "float16")
    assert values(layers, "b") == 16


@pytest.mark.parametrize(
    ("format", "precision"),
    [
        ("tflite", "dynamic_range_wi8_ei8"),
        ("tflite", "dynamic_range_wi8"),
        ("onnx", "dynamic_range_wi8"),
        ("openvino", "weight_only_wi8"),
        ("openvino", "weight_only_nf4"),
    ],
)
def test_size_section_finds_quantized_weights(sized, format, precision):
    size, layers = sized(format, precision)
    counts = [values(layers, name) for name in ("a", "b", "logits")]
    assert all(2 <= count <= 255 for count in counts)
    assert layers["b"]["kernel"]["num_weights"] == 4096
    # Bytes of integers: not those of the float file, which the names come from.
    assert layers["b"]["kernel"]["num_bytes"] < 2 * 4096
    assert size["max_distinct_values"] == max(counts)
    # 4 bits and a scale for 64 of them; biases, and others that stay float.
    assert size["bits_per_weight"] < (7 if "nf4" in precision else 11)


def test_size_section_weight_that_is_not_in_the_file_is_null(clustered, tmp_path):
    maker = ArtifactMaker(tmp_path, versions={}, heads=HEADS)
    target = Target(format="keras")
    artifact = maker.make(ROW, target, lambda: clustered.model, dict)
    layers = clustered.report.to_json()
    weights = layer_weights(clustered.model, layers)
    other = np.random.default_rng(1).normal(size=(64, 64)).astype(np.float32)
    weights["a", "kernel"] = other
    size, found = size_section(artifact, artifact, artifact, layers, lambda: weights)
    exported = {row["name"]: row["exported"] for row in found}
    assert exported["a"] == {"kernel": None}
    assert values(exported, "b") == 16
    assert size["max_distinct_values"] is None


def test_size_section_of_a_plain_model_needs_no_weights(clustered, tmp_path):
    maker = ArtifactMaker(tmp_path, versions={}, heads=HEADS)
    artifact = maker.make(ROW, Target(format="keras"), lambda: clustered.model, dict)
    size, layers = size_section(artifact, artifact, artifact, [], None)
    assert layers == []
    assert size["max_distinct_values"] == 16


def test_compression_ratio_without_the_baselines_file_is_null():
    assert compression_ratio({"file_bytes": 50}, {"file_bytes": 100}) == 2
    assert compression_ratio({"file_bytes": 50}, {"file_bytes": None}) is None
    assert compression_ratio({"file_bytes": 50}, None) is None
