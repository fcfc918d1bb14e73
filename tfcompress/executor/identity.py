"""Which tfcompress this is: its version, and a hash of its sources."""

import functools
import hashlib
import importlib.metadata
import pathlib
import platform

from tfcompress.errors import StepError

_ROOT = pathlib.Path(__file__).resolve().parents[2]


def code_fingerprint():
    """Returns a hash of the sources that make a result, 16 hexadecimal digits."""
    digest = hashlib.sha256()
    for folder in ("tfcompress", "experiments"):
        for path in sorted((_ROOT / folder).rglob("*.py")):
            digest.update(path.relative_to(_ROOT).as_posix().encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


@functools.cache
def identity():
    """Returns `{"version", "sources"}`, as this process found them at its first call.

    The version is None where the package was not installed but put on the path.
    """
    try:
        version = importlib.metadata.version("tfcompress")
    except importlib.metadata.PackageNotFoundError:
        version = None
    return {"version": version, "sources": code_fingerprint()}


def check_identity(driver):
    """Refuses work for a driver of other code.

    Args:
        driver: the driver's `identity()`.
    Raises:
        StepError: if this process has another version or other sources.
    """
    ours = identity()
    if ours != driver:
        raise StepError(
            f"The worker on {platform.node()} has {_describe(ours)}, and the run was "
            f"started by {_describe(driver)}. Install the same on both."
        )


def _describe(identity):
    return f"tfcompress {identity['version']} (sources {identity['sources']})"
