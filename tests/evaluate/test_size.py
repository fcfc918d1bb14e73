"""Sizes of an artifact."""

import gzip
import os

import numpy as np

from tfcompress.evaluate.size import gzip_bytes, measure_size


def test_measure_size_counts_model_and_artifact(tiny_artifact):
    artifact = tiny_artifact("openvino")
    (artifact.folder / "notes.txt").write_text("no part of the artifact")
    sizes = {path.name: path.stat().st_size for path in artifact.folder.iterdir()}
    size = measure_size(artifact)
    assert size["file_bytes"] == sizes["model.xml"] + sizes["model.bin"]
    assert size["artifact_bytes"] == sum(sizes.values()) - sizes["notes.txt"]
    models = [(artifact.folder / f"model.{end}").read_bytes() for end in ("xml", "bin")]
    packed = [len(gzip.compress(content, 9, mtime=0)) for content in models]
    assert size["gzip_bytes"] == sum(packed)


def test_gzip_bytes_depends_on_content_only(tmp_path):
    content = np.random.default_rng(0).integers(0, 16, 100_000).astype(np.uint8)
    for name, when in (("a", 1), ("a_much_longer_name", 2_000_000_000)):
        (tmp_path / name).write_bytes(content.tobytes())
        os.utime(tmp_path / name, (when, when))
    sizes = {gzip_bytes(path) for path in tmp_path.iterdir()}
    assert sizes == {len(gzip.compress(content.tobytes(), 9, mtime=0))}
