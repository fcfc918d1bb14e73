"""Recipes that end in qat: zeros, clusters and integers hold, to the file."""

import numpy as np
import pytest

from tfcompress.compress import compress
from tfcompress.evaluate.exported_weights import list_weights
from tfcompress.export import export_model
from tfcompress.methods.integer_grid import fake_quantize, grid_scale
from tfcompress.structure_file import read_structures, write_structures

SIZES = {"embedding": 2000, "hidden": 1280, "logits": 32}
RECIPES = [
    "qat",
    "prune(0.5)+qat",
    "cluster(4)+qat",
    "prune(0.5)+cluster(4)+qat",
    "prune(0.5)+cluster(4)+qat('static_range')",
    "prune(0.5)+qat(weight_bits=4)",
]


@pytest.fixture(scope="module")
def model(make_text_model):
    return make_text_model(dimension=40, width=32)


def kernels(model):
    return {name: model.get_layer(name).get_weights()[0] for name in SIZES}


def row(result, name):
    return next(row for row in result.report.rows if row.name == name)


@pytest.mark.parametrize("finetune", [False, True])
@pytest.mark.parametrize("recipe", RECIPES)
def test_recipe_with_qat_keeps_what_each_step_made(model, training, recipe, finetune):
    result = compress(model, recipe, training, finetune=finetune)
    for name, kernel in kernels(result.model).items():
        weight = "embeddings" if name == "embedding" else "kernel"
        structure = result.structures[name, weight]
        integers = kernel / structure["scale"]
        np.testing.assert_array_equal(integers, np.round(integers))
        assert np.abs(integers).max() == (7 if "bits=4" in recipe else 127)
        if "prune" in recipe:
            pruned = kernels(compress(model, "prune(0.5)").model)[name]
            assert (kernel[pruned == 0] == 0).all()
            assert row(result, name).requested["sparsity"] == 0.5
        if "cluster" in recipe:
            assert structure["scale"].shape == ()
            assert len(np.unique(kernel)) <= 4
            np.testing.assert_array_equal(np.unique(kernel), structure["codebook"])
    assert (result.report.training_log is not None) == finetune


@pytest.mark.parametrize("scope", ["per_tensor", "per_channel"])
def test_clusters_of_qat_are_those_of_the_step_before(model, training, scope):
    recipe = f"cluster(4, granularity={scope!r})+qat"
    result = compress(model, recipe, training)
    for kernel in kernels(result.model).values():
        assert max(len(np.unique(channel)) for channel in kernel.T) <= 4
    assert row(result, "hidden").stripped["kernel"]["clusters_used"] <= 4


def test_qat_of_a_clustered_model_needs_no_cluster_step(model, training):
    clustered = compress(model, "cluster(4)").model
    result = compress(clustered, "qat", training)
    for kernel in kernels(result.model).values():
        assert len(np.unique(kernel)) <= 4


def test_zeros_of_what_qat_leaves_alone_are_kept(model, training):
    recipe = (
        "prune(0.5, layers={'norm': {'weights': ['gamma', 'beta']}, "
        "'hidden': {'weights': ['kernel', 'bias']}})+qat(layers={'embedding': None})"
    )
    result = compress(model, recipe, training)
    pruned = compress(model, recipe.partition("+")[0]).model
    for name in ("norm", "hidden", "embedding"):
        weights = zip(
            result.model.get_layer(name).get_weights(),
            pruned.get_layer(name).get_weights(),
            strict=True,
        )
        for weight, before in weights:
            assert (weight[before == 0] == 0).all()
            assert np.count_nonzero(weight) > 0


def test_qat_of_the_result_without_training_changes_no_bit(model, training):
    small = compress(model, "qat", training).model
    again = compress(small, "qat").model
    for one, other in zip(small.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("format", ["tflite", "onnx", "openvino"])
def test_pruned_clustered_and_quantized_holds_in_the_dense_file(
    model, training, format, tmp_path
):
    small = compress(model, "prune(0.5)+cluster(4)+qat", training).model
    exported = export_model(small, format, tmp_path)
    found = list_weights(format, tmp_path, exported.files)
    for size in SIZES.values():
        assert any(
            weight.num_nonzero <= size // 2 and weight.num_distinct_values <= 4
            for weight in found
            if weight.num_weights == size
        )


def test_tflite_converter_writes_the_very_integers_that_were_trained(
    model, training, tmp_path
):
    from ai_edge_litert.interpreter import Interpreter

    result = compress(model, "qat", training)
    export_model(result.model, "tflite", tmp_path, precision="dynamic_range_wi8")
    interpreter = Interpreter(str(tmp_path / "model.tflite"))
    interpreter.allocate_tensors()
    kernel = result.model.get_layer("hidden").get_weights()[0]
    scale = result.structures["hidden", "kernel"]["scale"]
    detail = next(
        detail
        for detail in interpreter.get_tensor_details()
        if detail["dtype"] == np.int8 and tuple(detail["shape"]) == kernel.T.shape
    )
    np.testing.assert_array_equal(
        interpreter.get_tensor(detail["index"]).T, np.round(kernel / scale)
    )
    parameters = detail["quantization_parameters"]
    np.testing.assert_allclose(parameters["scales"], scale, rtol=1e-6)


def test_structures_of_qat_are_written_and_read(model, training, tmp_path):
    structures = compress(model, "cluster(4)+qat('static_range')", training).structures
    write_structures(tmp_path / "s.npz", structures)
    found = read_structures(tmp_path / "s.npz")
    assert found.keys() == structures.keys()
    assert found["hidden", "kernel"]["bits"] == 8
    np.testing.assert_array_equal(
        found["hidden", "kernel"]["codebook"],
        structures["hidden", "kernel"]["codebook"],
    )
    ranges = [key for key in structures if key[1] == "output"]
    assert ranges
    for key in ranges:
        assert found[key] == structures[key]


def test_qat_of_bert_rounds_every_kernel_by_channel():
    from tfcompress.models import bert_classifier

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "film"]
    model = bert_classifier("random:tiny", 3, 16, vocabulary=words, seed=1)
    result = compress(model, "qat")
    names = [row.name for row in result.report.rows if row.status == "compressed"]
    assert len([name for name in names if name.endswith("query")]) == 2
    assert "backbone/token_embedding" in names
    kernel = result.model.get_layer("logits").get_weights()[0]
    np.testing.assert_array_equal(
        fake_quantize(kernel, grid_scale(kernel, 8, (1,))), kernel
    )


def test_layer_that_qat_leaves_alone_keeps_its_clusters_while_it_trains(
    model, training
):
    recipe = "prune(0.5)+cluster(4)+qat(layers={'Embedding': None})"
    result = compress(model, recipe, training)
    table = kernels(result.model)["embedding"]
    assert np.count_nonzero(table) == table.size // 2
    assert len(np.unique(table)) <= 4
    codebook = result.structures["embedding", "embeddings"]["codebook"]
    assert set(np.unique(table)) <= set(codebook)
    hidden = result.structures["hidden", "kernel"]
    assert hidden["bits"] == 8
    before = compress(model, "prune(0.5)+cluster(4)")
    assert not np.array_equal(table, kernels(before.model)["embedding"])  # it trained
