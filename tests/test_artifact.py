"""Artifacts: made whole, verified, asked; and every way in which one can be damaged."""

import dataclasses
import hashlib
import json
import math
import os
import shutil

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from tfcompress.artifact import Artifact, create_artifact
from tfcompress.errors import ArtifactError, InvalidValueError
from tfcompress.formats import FORMATS
from tfcompress.runtime import TensorSpec
from tfcompress.tasks import ClassHead

TEXTS = ["good good good good", "bad bad", "Film, film: film film!"]
# Tokens (4 4 4 4), (2 2 0 0), (3 3 3 3): mean / 2 - 1.
LOGITS = np.array([[1.0], [-0.5], [0.5]], np.float32)


def edit_manifest(artifact, **changes):
    path = artifact.folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def onnx_model(path, nodes, output_shape=("n", 1), length=4):
    """Writes a model from "tokens", which are "floats" as well, to "logits"."""
    floats = helper.make_node("Cast", ["tokens"], ["floats"], to=TensorProto.FLOAT)
    tokens = helper.make_tensor_value_info("tokens", TensorProto.INT32, ["n", length])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, output_shape)
    graph = helper.make_graph([floats, *nodes], "model", [tokens], [logits])
    opsets = [helper.make_opsetid("", 13)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return [path]


@pytest.mark.parametrize("format", FORMATS)
def test_predict_texts_gives_known_labels_and_probabilities(format, tiny_artifact):
    folder = tiny_artifact(format).folder
    prediction = Artifact.load(folder).predict(TEXTS)
    assert prediction.labels == ("positive", "negative", "positive")
    np.testing.assert_array_equal(prediction.indices, [1, 0, 1])
    np.testing.assert_allclose(prediction.outputs, LOGITS, rtol=1e-6)
    positive = [1 / (1 + math.exp(-logit)) for logit in (1.0, -0.5, 0.5)]
    np.testing.assert_allclose(prediction.probabilities[:, 1], positive, rtol=1e-6)
    np.testing.assert_allclose(prediction.probabilities.sum(1), 1, rtol=1e-6)


def test_predict_needs_nothing_but_the_folder(tmp_path, tiny_artifact):
    moved = tmp_path / "elsewhere"
    shutil.move(tiny_artifact().folder, moved)
    assert Artifact.load(moved).predict(["good good good good"]).labels == ("positive",)


def test_predict_more_than_a_batch_gives_every_answer(tiny_artifact):
    artifact = tiny_artifact("tflite")
    tokens = np.random.default_rng(0).integers(0, 8, (11, 4)).astype(np.int32)
    logits = artifact.predict_outputs({"tokens": tokens}, batch_size=4)["labels"]
    expected = tokens.mean(axis=1, keepdims=True) / 2 - 1
    np.testing.assert_allclose(logits, expected, rtol=1e-6)


def test_predict_no_text_gives_an_empty_prediction(tiny_artifact):
    prediction = tiny_artifact().predict([])
    assert prediction.labels == ()
    assert prediction.probabilities.shape == (0, 2)
    assert prediction.outputs.shape == (0, 1)


def test_predict_softmax_of_extreme_logits_is_finite(tmp_path, tiny_artifact):
    square = helper.make_node("Mul", ["floats", "floats"], ["logits"])
    shape = ("n", 4)
    artifact = tiny_artifact(
        model_files=onnx_model(tmp_path / "model.onnx", [square], shape),
        is_text=False,
        outputs=(TensorSpec("logits", (None, 4), "float32"),),
        heads=(ClassHead(labels=("a", "b", "c", "d"), activation="softmax"),),
    )
    tokens = np.array([[0, 1, 90, 3], [1, 1, 0, 0]], np.int32)
    prediction = artifact.predict({"tokens": tokens})
    assert prediction.labels == ("c", "a")
    one, e = 1 / (2 * math.e + 2), math.e / (2 * math.e + 2)
    expected = [[0, 0, 1, 0], [e, e, one, one]]
    np.testing.assert_allclose(prediction.probabilities, expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("nodes", "units", "expected"),
    [
        # Of one unit it is that of the second label.
        (["ReduceMax"], 1, [[0.75, 0.25], [0.25, 0.75], [0.5, 0.5]]),
        (["Identity"], 4, [[0.25, 0, 0, 0], [0, 0.75, 0.25, 0], [0.5, 0.5, 0, 0]]),
    ],
)
def test_predict_probabilities_pass_through(
    tmp_path, tiny_artifact, nodes, units, expected
):
    """The file puts out a quarter of its inputs, or the largest of them."""
    quarter = helper.make_node(
        "Constant", [], ["quarter"], value_floats=[0.25], name="quarter"
    )
    scaled = helper.make_node("Mul", ["floats", "quarter"], ["scaled"])
    options = {} if units == 4 else {"axes": [1], "keepdims": 1}
    last = helper.make_node(nodes[0], ["scaled"], ["logits"], **options)
    artifact = tiny_artifact(
        model_files=onnx_model(
            tmp_path / "model.onnx", [quarter, scaled, last], ("n", units)
        ),
        is_text=False,
        outputs=(TensorSpec("logits", (None, units), "float32"),),
        heads=(ClassHead(labels=tuple("abcd"[: max(units, 2)]), activation="none"),),
    )
    tokens = np.array([[1, 0, 0, 0], [0, 3, 1, 0], [2, 2, 0, 0]], np.int32)
    prediction = artifact.predict({"tokens": tokens})
    np.testing.assert_array_equal(prediction.probabilities, np.float32(expected))
    assert prediction.labels == ("a", "b", "a")


def test_predict_arrays_on_artifact_without_tokenizer(tiny_artifact):
    artifact = tiny_artifact(is_text=False)
    assert "tokenizer.json" not in os.listdir(artifact.folder)
    tokens = np.full((1, 4), 4, np.int32)
    assert artifact.predict({"tokens": tokens}).labels == ("positive",)


def test_predict_texts_on_artifact_without_tokenizer_raises(tiny_artifact):
    message = r"takes named arrays, got list. Give a dict with the names \['tokens'\]"
    with pytest.raises(InvalidValueError, match=message):
        tiny_artifact(is_text=False).predict(TEXTS)


def test_predict_one_text_instead_of_a_list_raises(tiny_artifact):
    with pytest.raises(InvalidValueError, match="takes a list of texts, got one str"):
        tiny_artifact().predict("a film")


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"ids": np.zeros((1, 4), np.int32)}, "no input 'ids'; its inputs are"),
        ({}, "Input 'tokens' is missing"),
        ({"tokens": np.zeros((1, 5), np.int32)}, r"shape \(None, 4\), got \(1, 5\)"),
        ({"tokens": np.zeros((1, 4), np.int64)}, "dtype 'int32', got 'int64'"),
    ],
)
def test_predict_wrong_arrays_raise(inputs, message, tiny_artifact):
    with pytest.raises(InvalidValueError, match=message):
        tiny_artifact().predict(inputs)


def test_predict_nan_logits_raise(tmp_path, tiny_artifact):
    roots = helper.make_node("Sqrt", ["floats"], ["roots"])
    mean = helper.make_node("ReduceMean", ["roots"], ["logits"], axes=[1], keepdims=1)
    model = onnx_model(tmp_path / "model.onnx", [roots, mean])
    artifact = tiny_artifact(model_files=model, is_text=False)
    tokens = np.array([[1] * 4, [-1] * 4, [-2] * 4], np.int32)
    message = "gave NaN or infinity for 2 of 3 examples, first for number 1: it is brok"
    with pytest.raises(ArtifactError, match=message):
        artifact.predict({"tokens": tokens})


def test_predict_output_of_another_shape_raises(tmp_path, tiny_artifact):
    copy = helper.make_node("Identity", ["floats"], ["logits"])
    model = onnx_model(tmp_path / "model.onnx", [copy], output_shape=("n", "m"))
    message = (
        r"gave the outputs {'logits': \(2, 4\)}, its manifest says 'logits' with \(2, 1"
    )
    with pytest.raises(ArtifactError, match=message):
        tiny_artifact(model_files=model).predict(["a", "b"])


def test_open_input_of_another_name_raises(tiny_artifact):
    artifact = tiny_artifact(is_text=False)
    edit_manifest(artifact, inputs=[{"name": "x", "shape": [None], "dtype": "int8"}])
    message = r"has the inputs {'tokens': 'int32'}, its manifest says {'x': 'int8'}"
    with pytest.raises(ArtifactError, match=message):
        Artifact.load(artifact.folder).open()


def test_open_and_close_hold_the_session(tiny_artifact):
    with tiny_artifact().open(num_threads=1) as artifact:
        first = artifact.session
        assert artifact.open().session is not first
    assert artifact.session is None
    assert artifact.predict(["bad"]).labels == ("negative",)


def test_create_artifact_lists_every_file(tiny_artifact):
    artifact = tiny_artifact("openvino")
    files = sorted(os.listdir(artifact.folder))
    assert files == ["manifest.json", "model.bin", "model.xml", "tokenizer.json"]
    assert sorted(artifact.manifest.files) == files[1:]
    assert Artifact.load(artifact.folder).manifest == artifact.manifest


def test_create_artifact_same_inputs_give_the_same_bytes(tiny_artifact):
    contents = []
    for _ in range(2):
        folder = tiny_artifact().folder
        contents.append({path.name: path.read_bytes() for path in folder.iterdir()})
    assert contents[0] == contents[1]


def test_create_artifact_missing_model_leaves_nothing(tmp_path, tiny_artifact):
    with pytest.raises(OSError, match=r"No such file .*absent\.onnx"):
        tiny_artifact(model_files=[tmp_path / "absent.onnx"])
    assert os.listdir(tmp_path) == []


def test_create_artifact_text_without_tokenizer_raises(tmp_path, tiny_artifact):
    manifest = tiny_artifact().manifest
    with pytest.raises(InvalidValueError, match="got NoneType with is_text=True"):
        create_artifact(tmp_path / "new", model_files=[], manifest=manifest)


def test_create_artifact_tokenizer_that_cuts_elsewhere_raises(tiny_artifact):
    inputs = (TensorSpec("tokens", (None, None), "int32"),)
    with pytest.raises(InvalidValueError, match="cuts a text at 4 ids and .* is 8"):
        tiny_artifact(inputs=inputs, sequence_length=8)


def test_create_artifact_two_files_of_one_name_raise(tmp_path, tiny_artifact):
    (tmp_path / "b").mkdir()
    paths = [tmp_path / "model.onnx", tmp_path / "b" / "model.onnx"]
    with pytest.raises(
        InvalidValueError, match="Two files of an artifact have one name"
    ):
        tiny_artifact(model_files=paths)


def test_load_extra_file_is_ignored(tiny_artifact):
    folder = tiny_artifact().folder
    (folder / "notes.txt").write_text("mine")
    assert "notes.txt" not in Artifact.load(folder).manifest.files


def test_load_no_folder_raises(tmp_path):
    with pytest.raises(
        ArtifactError, match=r"is no artifact: it has no 'manifest\.jso"
    ):
        Artifact.load(tmp_path / "absent")


@pytest.mark.parametrize("text", ["", '{"format": ', "\xff", "[" * 100_000])
def test_load_damaged_manifest_raises(text, tiny_artifact):
    folder = tiny_artifact().folder
    (folder / "manifest.json").write_text(text, encoding="latin-1")
    with pytest.raises(
        ArtifactError, match=r"manifest\.json' is damaged: it is no JSON"
    ):
        Artifact.load(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema_version": 99}, "is 99 .*: a newer one made the artifact"),
        ({"runtime": "trt"}, "'runtime' has the unknown value 'trt'"),
        (
            {"files": {"../model.onnx": {"size_bytes": 1, "sha256": "0" * 64}}},
            r"'files' names '\.\./model\.onnx', which is no plain name",
        ),
    ],
)
def test_load_manifest_that_cannot_be_used_names_it(change, message, tiny_artifact):
    artifact = tiny_artifact()
    edit_manifest(artifact, **change)
    with pytest.raises(
        ArtifactError, match=rf"manifest\.json' cannot be used: .*{message}"
    ):
        Artifact.load(artifact.folder)


def test_load_missing_file_raises(tiny_artifact):
    folder = tiny_artifact().folder
    (folder / "model.onnx").unlink()
    with pytest.raises(
        ArtifactError, match=r"model\.onnx' is missing; make the artifact"
    ):
        Artifact.load(folder)


def test_load_truncated_file_raises(tiny_artifact):
    path = tiny_artifact().folder / "model.onnx"
    size = path.stat().st_size
    path.write_bytes(path.read_bytes()[:-1])
    message = rf"has {size - 1} bytes and its manifest says {size}: it is truncated"
    with pytest.raises(ArtifactError, match=message):
        Artifact.load(path.parent)


@pytest.mark.parametrize("name", ["model.onnx", "tokenizer.json"])
def test_load_altered_file_raises(name, tiny_artifact):
    path = tiny_artifact().folder / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ArtifactError, match=f"{name}' was altered: its SHA-256 is"):
        Artifact.load(path.parent)


def test_load_link_raises(tmp_path, tiny_artifact):
    path = tiny_artifact().folder / "model.onnx"
    shutil.move(path, tmp_path / "outside.onnx")
    path.symlink_to(tmp_path / "outside.onnx")
    with pytest.raises(ArtifactError, match="is a link, which may point outside"):
        Artifact.load(path.parent)


def test_load_folder_in_place_of_a_file_raises(tiny_artifact):
    path = tiny_artifact().folder / "model.onnx"
    path.unlink()
    path.mkdir()
    with pytest.raises(ArtifactError, match="is missing"):
        Artifact.load(path.parent)


def test_load_text_artifact_without_tokenizer_raises(tiny_artifact):
    artifact = tiny_artifact(is_text=False)
    edit_manifest(artifact, is_text=True, sequence_length=4)
    with pytest.raises(ArtifactError, match=r"lists no 'tokenizer\.json'"):
        Artifact.load(artifact.folder)


def test_predict_broken_tokenizer_raises(tiny_artifact):
    artifact = tiny_artifact()
    (artifact.folder / "tokenizer.json").write_text("{}")
    with pytest.raises(ArtifactError, match=r"json' cannot be used as a tokenizer"):
        artifact.predict(["a"])


@pytest.fixture
def free_length_artifact(tmp_path, tiny_artifact):
    """Artifact of texts of up to 16 subword ids; its logit is their mean."""
    from tfcompress.data.subword_tokenizer import set_max_length, wordpiece_tokenizer

    mean = helper.make_node("ReduceMean", ["floats"], ["logits"], axes=[1], keepdims=1)
    tokenizer = wordpiece_tokenizer(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "b"])
    set_max_length(tokenizer, 16, padding_token="[PAD]")
    manifest = dataclasses.replace(
        tiny_artifact().manifest,
        inputs=(TensorSpec("tokens", (None, None), "int32"),),
        sequence_length=16,
        files={},
    )
    return create_artifact(
        tmp_path / "free",
        model_files=onnx_model(tmp_path / "model.onnx", [mean], length="t"),
        manifest=manifest,
        tokenizer=tokenizer,
    )


def test_to_arrays_free_length_is_what_the_texts_need(free_length_artifact):
    artifact = free_length_artifact
    assert artifact.to_arrays(["a b"])["tokens"].tolist() == [[2, 4, 5, 3, 0, 0, 0, 0]]
    assert artifact.to_arrays(["a " * 9])["tokens"].shape == (1, 16)
    assert artifact.to_arrays(["a " * 99])["tokens"].shape == (1, 16)
    assert artifact.to_arrays(["a"], length=16)["tokens"].shape == (1, 16)
    with pytest.raises(InvalidValueError, match=r"must be in 1\.\.16, .* got 17"):
        artifact.to_arrays(["a"], length=17)


def test_predict_free_length_keeps_the_order_of_the_texts(free_length_artifact):
    artifact = free_length_artifact
    texts = ["a " * 99, "b", "", "a " * 7]
    logits = artifact.predict_outputs(texts, batch_size=2)["labels"]
    # padded to 16, 8, 8, 16: the two short texts are one batch
    sums = [(2 + 14 * 4 + 3) / 16, (2 + 5 + 3) / 8, 5 / 8, (2 + 7 * 4 + 3) / 16]
    np.testing.assert_allclose(logits[:, 0], sums, rtol=1e-6)


@pytest.mark.parametrize("inputs", ["a", ["a", None]])
def test_predict_free_length_other_than_texts_raise(free_length_artifact, inputs):
    artifact = free_length_artifact
    with pytest.raises(InvalidValueError, match="a list of texts|A text must be a str"):
        artifact.predict(inputs)


def make_external(path, location):
    """Writes an .onnx file whose weight is said to lie in another file."""
    import onnx
    from onnx import helper

    weight = onnx.TensorProto(name="w", data_type=1, dims=[1])
    weight.data_location = onnx.TensorProto.EXTERNAL
    weight.external_data.add(key="location", value=location)
    body = helper.make_graph(
        [helper.make_node("Constant", [], ["c"], value=weight)], "body", [], []
    )
    node = helper.make_node("If", ["tokens"], ["logits"])
    node.attribute.append(helper.make_attribute("then_branch", body))
    graph = helper.make_graph([node], "tiny", [], [])
    onnx.save(helper.make_model(graph), path)


@pytest.mark.parametrize("location", ["hidden.data", "../w.data", "/etc/passwd"])
def test_onnx_that_reads_an_unlisted_file_is_no_artifact(
    tmp_path, tiny_artifact, location
):
    path = tmp_path / "model.onnx"
    make_external(path, location)
    with pytest.raises(ArtifactError, match=f"weights in '{location}', which is no fi"):
        tiny_artifact(model_files=[path])
    artifact = tiny_artifact()
    shutil.copyfile(path, artifact.folder / "model.onnx")
    rehash(artifact.folder)
    with pytest.raises(ArtifactError, match=f"weights in '{location}', which is no fi"):
        Artifact.load(artifact.folder)


def test_onnx_that_reads_a_listed_file_is_an_artifact(tmp_path, tiny_artifact):
    path, data = tmp_path / "model.onnx", tmp_path / "w.data"
    make_external(path, "w.data")
    data.write_bytes(bytes(4))
    artifact = tiny_artifact(model_files=[path, data])
    assert "w.data" in Artifact.load(artifact.folder).manifest.files


def rehash(folder):
    """Makes the manifest tell of the files as they are."""
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    for name in manifest["files"]:
        data = (folder / name).read_bytes()
        entry = {"size_bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        manifest["files"][name] = entry
    path.write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            '"is_text": true',
            '"is_text": true, "is_text": true',
            "'is_text' stands in it",
        ),
        (
            '"sequence_length": 4',
            '"sequence_length": 1000000000000',
            "in 1..131072, got",
        ),
        ('"dtype": "int32"', '"dtype": "(9,9)f8"', "has the unknown dtype"),
    ],
)
def test_load_hostile_manifest_raises(tiny_artifact, old, new, message):
    folder = tiny_artifact().folder
    path = folder / "manifest.json"
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(ArtifactError, match=message):
        Artifact.load(folder)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b"bad", b"\xff\xff\xff", "cannot be read as JSON"),
        (b'"Fixed":4', b'"Fixed":4000000000000', "pads them to 4000000000000"),
        (b'"stride":0', b'"stride":9', "cannot turn these texts into ids: "),
    ],
)
def test_predict_hostile_tokenizer_raises(tiny_artifact, old, new, message):
    folder = tiny_artifact().folder
    path = folder / "tokenizer.json"
    compact = json.dumps(json.loads(path.read_text()), separators=(",", ":")).encode()
    assert old in compact
    path.write_bytes(compact.replace(old, new, 1))
    rehash(folder)
    with pytest.raises(ArtifactError, match=message):
        Artifact.load(folder).predict(["bad " * 9])
