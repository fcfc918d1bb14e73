"""What an experiment ran on: versions, processor, commit."""

import datetime
import hashlib
import importlib.metadata
import os
import pathlib
import platform
import subprocess

from tfcompress.evaluate.gpu import gpu_name

_PACKAGES = (
    "tensorflow",
    "tf-keras",
    "keras",
    "keras-hub",
    "tensorflow-model-optimization",
    "tf2onnx",
    "onnx",
    "onnxruntime",
    "openvino",
    "ai-edge-litert",
    "jax",
    "nncf",
    "ai-edge-quantizer",
    "tokenizers",
    "numpy",
)
# Those that decide which kernels a runtime takes.
_CPU_FLAGS = ("avx2", "fma", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile")
_ROOT = pathlib.Path(__file__).resolve().parents[2]


def describe_environment():
    """Returns the `environment` section of a record."""
    cpu, flags = _processor()
    return {
        "versions": _versions(),
        "cpu": cpu,
        "cpu_flags": [flag for flag in _CPU_FLAGS if flag in flags],
        "num_cores": len(os.sched_getaffinity(0)),
        "gpu": gpu_name(),
        "commit": _commit(),
        "started_at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def code_fingerprint():
    """Returns a hash of the sources that make a result, 16 hexadecimal digits."""
    digest = hashlib.sha256()
    for folder in ("tfcompress", "experiments"):
        for path in sorted((_ROOT / folder).rglob("*.py")):
            digest.update(path.relative_to(_ROOT).as_posix().encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _versions():
    versions = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def _processor():
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:  # not Linux
        return platform.processor() or platform.machine(), set()
    fields = dict(line.split(":", 1) for line in lines if ":" in line)
    fields = {name.strip(): value.strip() for name, value in fields.items()}
    name = fields.get("model name", platform.machine())
    return name, set(fields.get("flags", "").split())


def _commit():
    """Returns the commit, with `+` where the tree differs from it, or `None`."""
    git = ["git", "-C", str(_ROOT)]
    try:
        run = {"capture_output": True, "text": True, "timeout": 10, "check": True}
        commit = subprocess.run([*git, "rev-parse", "--short=12", "HEAD"], **run)
        changed = subprocess.run([*git, "status", "--porcelain"], **run)
    except (OSError, subprocess.SubprocessError):  # an installed package, no git
        return None
    return commit.stdout.strip() + ("+" if changed.stdout.strip() else "")
