"""The archive of labels behind a .tflite file, through `code_file`."""

import io
import zipfile

import numpy as np
import pytest

from tfcompress.coding import code_file
from tfcompress.formats.tflite_trailer import append_trailer
from tfcompress.runtime import load_session

LABELS = {"labels.txt": "cat\ndog\nÜ\n", "folder/vocab.txt": "a b c\n" * 50}


def write_model(path):
    """Writes a dense layer of 64 x 64 weights of four values, with labels behind it."""
    import tensorflow as tf

    rng = np.random.default_rng(0)
    kernel = rng.choice(np.float32([-1, -0.5, 0.5, 1]), (64, 64))

    class Dense(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec((None, 64), tf.float32, "x")])
        def __call__(self, x):
            return {"y": x @ tf.constant(kernel)}

    model = Dense()
    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [model.__call__.get_concrete_function()], model
    )
    path.write_bytes(converter.convert())
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for name, text in LABELS.items():
            file.writestr(name, text)
    append_trailer(path, archive.getvalue())


@pytest.mark.parametrize("exclude", [(), (".*",)], ids=["coded", "copied"])
def test_code_file_keeps_the_archive_behind_the_model(tmp_path, exclude):
    source, target = tmp_path / "model.tflite", tmp_path / "coded.tflite"
    write_model(source)
    result = code_file(source, target, exclude=exclude)
    assert result.target_bytes == target.stat().st_size
    is_smaller = target.stat().st_size < 0.5 * source.stat().st_size
    assert is_smaller == (exclude == ())
    with zipfile.ZipFile(target) as file:
        assert file.testzip() is None
        assert {n: file.read(n).decode() for n in file.namelist()} == LABELS
    x = np.random.default_rng(1).normal(size=(3, 64)).astype(np.float32)
    found = [
        load_session("tflite", tmp_path, [path.name]).run({"x": x})["y"]
        for path in (source, target)
    ]
    np.testing.assert_array_equal(*found)
