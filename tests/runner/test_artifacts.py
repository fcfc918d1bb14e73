"""Artifacts of a row made of real small files: coded of the dense, each once."""

import dataclasses

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from tfcompress.artifact import Artifact, create_artifact
from tfcompress.errors import ArtifactError
from tfcompress.formats.target import Target
from tfcompress.manifest import Manifest
from tfcompress.runner.artifacts import ArtifactMaker, is_quantized, main_file
from tfcompress.runner.rows import Row
from tfcompress.runner.run_folder import RunFolder
from tfcompress.runner.store import RunStore
from tfcompress.runtime import TensorSpec
from tfcompress.tasks import ValueHead

DENSE, CODED = Target(format="onnx"), Target(format="onnx", coding="coded")
ROW = Row(name="clustered", recipe="cluster(4)", targets=(DENSE, CODED))


def refuse():
    raise AssertionError("no model is needed to code a file")


@pytest.fixture
def made(tmp_path, monkeypatch):
    """Store with a dense file, a product with a kernel of four values; its maker."""
    monkeypatch.chdir(tmp_path)  # the path of a run is relative, if none is given
    kernel = np.random.default_rng(0).choice(np.float32([-1, 0, 1, 2]), (64, 64))
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "kernel"], ["y"])],
        "product",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["n", 64])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["n", 64])],
        [numpy_helper.from_array(kernel, "kernel")],
    )
    opsets = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    onnx.save(model, tmp_path / "model.onnx")
    manifest = Manifest(
        format="onnx",
        inputs=(TensorSpec("x", (None, 64), "float32"),),
        outputs=(TensorSpec("y", (None, 64), "float32"),),
        heads=(ValueHead(),),
        is_text=False,
        recipe=ROW.recipe,
    )
    with RunFolder("run") as folder:
        path = folder.artifacts / DENSE.key(ROW.name)
        create_artifact(path, model_files=[tmp_path / "model.onnx"], manifest=manifest)
        store = RunStore(folder)
        yield store, ArtifactMaker(store, versions={}, heads=refuse)


def test_coded_artifact_is_made_of_the_dense_one(made):
    store, maker = made
    artifact = maker.make(ROW, CODED, refuse, dict)
    dense = maker.dense_of(ROW, CODED)
    assert dense.folder.name == DENSE.key(ROW.name)
    assert maker.plain_of(ROW, CODED) is dense
    manifest = Artifact.load(store.folder.artifacts / CODED.key(ROW.name)).manifest
    assert (manifest.coding, manifest.recipe) == ("coded", ROW.recipe)
    assert [row["name"] for row in manifest.coding_table] == ["kernel"]
    sizes = [main_file(each).stat().st_size for each in (artifact, dense)]
    assert sizes[0] < sizes[1] / 4
    x = {"x": np.eye(64, dtype=np.float32)}
    with artifact, dense:
        found, expected = (
            each.predict_outputs(x)["values"] for each in (artifact, dense)
        )
    np.testing.assert_array_equal(found, expected)
    assert maker.verification_seconds > 0


def test_artifact_is_made_once_and_again_where_it_is_damaged(made):
    store, maker = made
    artifact = maker.make(ROW, CODED, refuse, dict)
    assert maker.make(ROW, CODED, refuse, refuse) is artifact
    path = main_file(artifact)
    content = path.read_bytes()
    path.write_bytes(b"")
    later = ArtifactMaker(RunStore(store.folder), versions={}, heads=refuse)
    assert main_file(later.make(ROW, CODED, refuse, dict)).read_bytes() == content


def test_coded_artifact_without_a_dense_one_raises(made):
    store, _ = made
    main_file(store.artifact(DENSE.key(ROW.name))).unlink()
    maker = ArtifactMaker(RunStore(store.folder), versions={}, heads=refuse)
    with pytest.raises(ArtifactError, match=r"model\.onnx' is missing"):
        maker.make(ROW, CODED, refuse, dict)


@pytest.mark.parametrize(
    ("precision", "expected"),
    [("float32", False), ("dynamic_range_wi8", True), ("float16", False)],
)
def test_is_quantized_tells_what_a_quantizer_makes(precision, expected):
    assert is_quantized(Target(format="onnx", precision=precision)) is expected


def test_quantized_artifact_is_made_of_the_float_one(made):
    store, maker = made
    int8 = Target(format="onnx", precision="dynamic_range_wi8")
    artifact = maker.make(ROW, int8, refuse, refuse)
    assert artifact.manifest.precision == "dynamic_range_wi8"
    assert artifact.manifest.verification["status"] == "passed"
    plain = maker.plain_of(ROW, int8)
    assert plain is store.artifact(DENSE.key(ROW.name))
    assert maker.dense_of(ROW, int8) is artifact
    sizes = [main_file(each).stat().st_size for each in (artifact, plain)]
    assert sizes[0] < sizes[1] / 2

    coded = dataclasses.replace(int8, coding="coded")
    maker.make(ROW, coded, refuse, dict)
    assert maker.dense_of(ROW, coded) is artifact
    assert maker.plain_of(ROW, coded) is plain
