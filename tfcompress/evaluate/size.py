"""How large an artifact is."""

import gzip
import shutil

from tfcompress.manifest import MANIFEST_NAME


def measure_size(artifact):
    """Measures the files of an artifact.

    Args:
        artifact: `Artifact`.
    Returns:
        Dict with `file_bytes` (the model files, all that the runtime needs),
        `artifact_bytes` (tokenizer and manifest as well) and `gzip_bytes` (the model
        files, each under gzip -9).
    Raises:
        OSError: if a file cannot be read.
    """
    manifest = artifact.manifest
    models = [artifact.folder / name for name in manifest.model_files]
    every = [artifact.folder / name for name in (*manifest.files, MANIFEST_NAME)]
    return {
        "file_bytes": sum(path.stat().st_size for path in models),
        "artifact_bytes": sum(path.stat().st_size for path in every),
        "gzip_bytes": sum(map(gzip_bytes, models)),
    }


def gzip_bytes(path):
    """Returns the bytes of a file under gzip -9.

    Neither its name nor its time goes into the header, so that the same content has the
    same size everywhere.

    Args:
        path: the file.
    Raises:
        OSError: if it cannot be read.
    """
    counter = _ByteCounter()
    with (
        open(path, "rb") as source,
        gzip.GzipFile("", "wb", compresslevel=9, fileobj=counter, mtime=0) as target,
    ):
        shutil.copyfileobj(source, target)
    return counter.num_bytes


class _ByteCounter:
    """A file to write to that keeps the number of bytes only."""

    def __init__(self):
        self.num_bytes = 0

    def write(self, data):
        self.num_bytes += len(data)
        return len(data)

    def flush(self):
        """Does nothing: there is no buffer."""
