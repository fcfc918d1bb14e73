"""Handles: taken from the hub's cache, or an error that says what was tried.

No test reaches a network. huggingface_hub reads its environment when it is imported,
hence the other process.
"""

import os
import shutil
import subprocess
import sys

import pytest

from tfcompress.models import load_preset

CODE = """
import sys
from tfcompress.errors import InvalidValueError
from tfcompress.models import load_preset
try:
    print(load_preset(sys.argv[1]).vocabulary_size)
except InvalidValueError as error:
    print(error)
"""


def load_in_process(preset, **environment):
    done = subprocess.run(
        [sys.executable, "-c", CODE, preset],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def fill_hugging_face_cache(checkpoint, home):
    repository = home / "hub" / "models--user--model"
    commit = "0123456789" * 4
    shutil.copytree(checkpoint, repository / "snapshots" / commit)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)


@pytest.mark.parametrize(
    "environment",
    [{"HF_HUB_OFFLINE": "1"}, {"HF_ENDPOINT": "http://127.0.0.1:9"}],
    ids=["offline", "unreachable"],
)
def test_hugging_face_handle_in_the_cache_is_taken(checkpoint, tmp_path, environment):
    fill_hugging_face_cache(checkpoint, tmp_path)
    printed = load_in_process("hf://user/model", HF_HOME=str(tmp_path), **environment)
    assert printed == "9"


@pytest.mark.parametrize(
    ("preset", "environment", "reason"),
    [
        ("hf://user/model", {"HF_HUB_OFFLINE": "1"}, "HF_HUB_OFFLINE is set"),
        (
            "hf://user/model",
            {"HF_ENDPOINT": "http://127.0.0.1:9"},
            "127.0.0.1 cannot be reached (ConnectionError)",
        ),
        ("hf://a/b/c", {"HF_HUB_OFFLINE": "1"}, "HF_HUB_OFFLINE is set"),
    ],
)
def test_hugging_face_handle_without_network_says_what_was_tried(
    tmp_path, preset, environment, reason
):
    printed = load_in_process(preset, HF_HOME=str(tmp_path), **environment)
    assert printed == (
        f"Preset {preset!r} cannot be had: it is not in the cache "
        f"{str(tmp_path / 'hub')!r}, and the download failed: {reason}. Fetch it where "
        "there is a network and name its folder, or take a random network such as "
        "'random:tiny'."
    )


def test_kaggle_handle_in_the_cache_is_taken(checkpoint, tmp_path, monkeypatch):
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path))
    folder = tmp_path / "models" / "user" / "model" / "keras" / "tiny"
    shutil.copytree(checkpoint, folder / "2")
    (folder / "2.complete").touch()
    preset = load_preset("kaggle://user/model/keras/tiny/2")
    assert preset.vocabulary_size == 9
