"""The manifest: strict in what it reads, checked when it is made."""

import dataclasses
import json

import pytest

from tfcompress.errors import InvalidValueError
from tfcompress.manifest import FileEntry, Manifest
from tfcompress.runtime import TensorSpec
from tfcompress.tasks import ClassHead, ValueHead

FIELDS = {
    "format": "openvino",
    "inputs": (TensorSpec("tokens", (None, 4), "int32"),),
    "outputs": (TensorSpec("logits", (None, 3), "float32"),),
    "heads": (ClassHead(labels=("a", "b", "c"), activation="softmax"),),
}


def of(activation, labels):
    """Fields with another head of classes."""
    return {"heads": (ClassHead(labels=tuple(labels), activation=activation),)}


def head_json(**changes):
    """JSON fields with a head of classes that is changed."""
    return {"heads": [FIELDS["heads"][0].to_json() | changes]}


FULL = Manifest(
    **FIELDS,
    is_text=True,
    sequence_length=4,
    precision="float16",
    coding="coded",
    coding_table=({"name": "table", "shape": [8, 2]},),
    recipe="cluster(16)",
    versions={"openvino": "2026.4.1"},
    files={
        "model.xml": FileEntry(10, "0" * 64),
        "model.bin": FileEntry(20, "1" * 64),
        "tokenizer.json": FileEntry(30, "a" * 64),
    },
)


def test_manifest_json_round_trip_is_equal():
    text = json.dumps(FULL.to_json())
    assert Manifest.from_json(json.loads(text)) == FULL


def test_manifest_json_has_the_documented_keys():
    value = FULL.to_json()
    assert value["runtime"] == "openvino"
    assert value["schema_version"] == 3
    assert value["inputs"] == [{"name": "tokens", "shape": [None, 4], "dtype": "int32"}]
    assert value["files"]["model.xml"] == {"size_bytes": 10, "sha256": "0" * 64}


def test_manifest_model_files_leave_out_the_tokenizer():
    assert FULL.model_files == ("model.bin", "model.xml")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"format": "pt"},
            "'format' has the unknown value 'pt'; choose one of 'tflite'",
        ),
        (
            {"runtime": "trt"},
            "'runtime' has the unknown value 'trt'; choose one of 'lit",
        ),
        ({"runtime": "litert"}, "'openvino' runs on 'openvino', not on 'litert'"),
        (
            {"coding": "zip"},
            "'coding' has the unknown value 'zip'; choose one of 'dense'",
        ),
        ({"inputs": ()}, "'inputs' and 'outputs' need at least one tensor"),
        (of("softmax", "a"), r"got 'softmax' with 1 labels and shape \(None, 3\)"),
        (of("softmax", "ab"), r"got 'softmax' with 2 labels and shape \(None, 3\)"),
        (of("sigmoid", "abc"), "got 'sigmoid' with 3 labels"),
        (
            of("none", "ab"),
            r"'none' one of the two; got 'none' with 2 labels and shape \(None, 3\)",
        ),
        (
            {"heads": ()},
            "'heads' needs one for each output .* got \\[\\] for 1 outputs",
        ),
        (
            {"heads": (ValueHead(), ValueHead())},
            "'heads' needs one for each output .* got \\['values', 'values'\\] for 1",
        ),
        (
            {"outputs": (TensorSpec("y", (1, 3), "float32"),)},
            r"'y' has shape \(1, 3\); the first size must be None",
        ),
        (
            {"inputs": (TensorSpec("x", (), "int32"),)},
            r"'x' has shape \(\); the first size must be None",
        ),
        (
            {"inputs": (TensorSpec("x", (None,), "int33"),)},
            "'x' has the unknown dtype 'int33'",
        ),
        ({"is_text": True}, "they need it; got None with 'is_text' True"),
        ({"sequence_length": 4}, "they need it; got 4 with 'is_text' False"),
        (
            {"is_text": True, "sequence_length": 5},
            r"'tokens' has shape \(None, 4\), and a text has up to 5 ids",
        ),
        (
            {
                "is_text": True,
                "sequence_length": 5,
                "inputs": (TensorSpec("tokens", (None,), "int32"),),
            },
            r"'tokens' has shape \(None,\), and a text has up to 5 ids",
        ),
    ],
)
def test_manifest_fields_that_cannot_be_raise(change, message):
    with pytest.raises(InvalidValueError, match=message):
        Manifest(**FIELDS | change)


def test_manifest_free_length_takes_any_sequence_length():
    inputs = (TensorSpec("tokens", (None, None), "int32"),)
    assert dataclasses.replace(FULL, inputs=inputs).sequence_length == 4


@pytest.mark.parametrize(
    "name",
    ["/etc/passwd", "../model.xml", "..", ".", "", "a/b", "a\\b", "C:b", "a\0", "a/"],
)
def test_manifest_file_outside_the_folder_raises(name):
    files = {name: FileEntry(1, "0" * 64)}
    with pytest.raises(InvalidValueError, match="which is no plain name of a file in"):
        dataclasses.replace(FULL, files=files)


def test_manifest_that_lists_itself_raises():
    files = {"manifest.json": FileEntry(1, "0" * 64)}
    with pytest.raises(InvalidValueError, match=r"'files' names 'manifest\.json'"):
        dataclasses.replace(FULL, files=files)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"schema_version": 4},
            "is 4 and this tfcompress knows only 3: a newer one made",
        ),
        ({"schema_version": "1"}, "'schema_version' must be 3, got '1'"),
        ({"schema_version": 0}, "'schema_version' must be 3, got 0"),
        ({"fromat": "onnx"}, "key 'fromat' is not known; did you mean 'format'?"),
        ({"zzz": 1}, "key 'zzz' is not known\\."),
        ({"heads": "abc"}, "'heads' must be a list of objects"),
        ({"heads": [{"kind": "x"}]}, "with a 'kind' of 'classes', 'values'; got"),
        ({"heads": [{"kind": "values"}]}, "has the keys name; 'name' is missing or"),
        (head_json(labels="abc"), "'labels' a list of texts; got"),
        (head_json(labels=[1, 2, 3]), "'labels' a list of texts; got"),
        (head_json(activation="relu"), "unknown value 'relu'; choose one of 'sigmoid'"),
        ({"is_text": 1}, "'is_text' must be true or false"),
        (
            {"sequence_length": 0},
            "'sequence_length' must be a positive integer or null",
        ),
        ({"sequence_length": True}, "'sequence_length' must be a positive integer or"),
        ({"recipe": None}, "'recipe' must be a text"),
        ({"versions": {"numpy": 2}}, "'versions' must be an object of texts"),
        ({"coding_table": [1]}, "'coding_table' must be a list of objects"),
        (
            {"inputs": [{"name": "x"}]},
            "'inputs' must be a list of {name, shape, dtype}",
        ),
        (
            {"inputs": [{"name": "x", "shape": [None, "4"], "dtype": "int32"}]},
            "'inputs' must be a list of {name, shape, dtype}",
        ),
        (
            {"files": {"model.xml": "0" * 64}},
            "'files' must be an object of {size_bytes, sha256}",
        ),
        (
            {"files": {"model.xml": {"size_bytes": 1, "sha256": "xyz"}}},
            "'files' must be an object of {size_bytes, sha256}",
        ),
    ],
)
def test_from_json_wrong_value_raises(change, message):
    with pytest.raises(InvalidValueError, match=message):
        Manifest.from_json(FULL.to_json() | change)


def _of_version_2():
    """A manifest as version 2 wrote it, whose first output was of classes."""
    value = FULL.to_json() | {"schema_version": 2}
    del value["heads"]
    return value | {"output_activation": "softmax", "labels": ["a", "b", "c"]}


def test_from_json_of_version_2_has_the_head_of_its_classes():
    assert Manifest.from_json(_of_version_2()) == FULL


def test_from_json_of_version_1_has_no_verification():
    value = _of_version_2() | {"schema_version": 1}
    del value["verification"]
    manifest = Manifest.from_json(value)
    assert manifest.verification is None
    assert dataclasses.replace(manifest, verification=FULL.verification) == FULL


def test_from_json_of_version_2_without_labels_raises():
    value = _of_version_2()
    del value["labels"]
    with pytest.raises(InvalidValueError, match="'output_activation' is not known"):
        Manifest.from_json(value)


def test_manifest_keeps_its_verification():
    found = {"status": "passed", "error": 1e-7, "bound": 1e-3}
    manifest = dataclasses.replace(FULL, verification=found)
    assert Manifest.from_json(manifest.to_json()).verification == found


def test_from_json_verification_that_is_no_object_raises():
    with pytest.raises(InvalidValueError, match="'verification' must be an object or"):
        Manifest.from_json(FULL.to_json() | {"verification": "passed"})


def test_from_json_missing_key_raises():
    value = FULL.to_json()
    del value["heads"]
    with pytest.raises(InvalidValueError, match="key 'heads' is missing"):
        Manifest.from_json(value)


def test_from_json_misspelt_key_names_the_missing_one():
    value = FULL.to_json()
    value["head"] = value.pop("heads")
    with pytest.raises(
        InvalidValueError, match="'head' is not known; did you mean 'heads"
    ):
        Manifest.from_json(value)


def test_from_json_no_object_raises():
    with pytest.raises(InvalidValueError, match="must be a JSON object"):
        Manifest.from_json([])


@pytest.mark.parametrize(("units", "labels"), [(3, "abc"), (1, "ab"), (2, "ab")])
def test_manifest_of_probabilities_has_a_unit_a_label_or_one(units, labels):
    outputs = (TensorSpec("y", (None, units), "float32"),)
    manifest = Manifest(**FIELDS | of("none", labels) | {"outputs": outputs})
    assert Manifest.from_json(manifest.to_json()) == manifest
