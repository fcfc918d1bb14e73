"""Experiments as processes of their own, and a small file of reviews."""

import csv
import importlib
import os
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest
from absl import flags

from tfcompress.errors import TfcompressError
from tfcompress.settings import parse_settings

ROOT = pathlib.Path(__file__).parents[2]
# Ends what hangs; nothing takes as long, even on a machine with much to do.
PATIENCE_SECONDS = 3600


def _start(name, *arguments):
    return subprocess.Popen(
        [sys.executable, "-m", "experiments", name, *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"},
    )


def _run(name, *arguments, timeout=PATIENCE_SECONDS):
    process = _start(name, *arguments)
    out, err = process.communicate(timeout=timeout)
    return process.returncode, out, err


@pytest.fixture(scope="session")
def start():
    """Returns `start(experiment, *arguments)`, which gives the process."""
    return _start


@pytest.fixture(scope="session")
def run():
    """Returns `run(experiment, *arguments)`, which gives (status, stdout, stderr)."""
    return _run


@pytest.fixture(scope="session")
def refuse():
    """Returns `refuse(experiment, *flags)`: the line of the error that it ends with."""

    def call(name, *arguments):
        module = importlib.import_module(f"experiments.{name}")
        with pytest.raises((TfcompressError, flags.Error)) as caught:
            module.main(parse_settings(module.Settings, arguments))
        message = str(caught.value)
        assert "\n" not in message
        return message

    return call


@pytest.fixture(scope="session")
def reviews(tmp_path_factory):
    """Returns the flags that name a file of 300 easy reviews of two classes."""
    path = tmp_path_factory.mktemp("data") / "reviews.csv"
    rng = np.random.default_rng(0)
    words = {"good": ["fine", "lovely", "bright"], "bad": ["dull", "poor", "grim"]}
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["review", "verdict"])
        for index in range(300):
            label = ("good", "bad")[index % 2]
            text = [*rng.choice(words[label], 4), *rng.choice(["a", "the", "film"], 6)]
            writer.writerow([" ".join(text), label])
    return [f"--dataset={path}", "--text_column=review", "--label_column=verdict"]


@pytest.fixture(scope="session")
def short_run(tmp_path_factory):
    """The command of a short run of two rows of a user's model, without training."""
    folder = tmp_path_factory.mktemp("short")
    rng = np.random.default_rng(0)
    features = rng.normal(size=(60, 8)).astype(np.float32)
    labels = (features[:, 0] > 0).astype(np.int32)
    np.savez(folder / "arrays.npz", features=features, labels=labels)
    inputs = keras.Input((8,), name="features")
    outputs = keras.layers.Dense(2, name="logits")(inputs)
    keras.Model(inputs, outputs, name="small").save(folder / "small.keras")
    return [
        "compress",
        f"--model={folder / 'small.keras'}",
        f"--data={folder / 'arrays.npz'}",
        *("--epochs=0", "--formats=onnx", "--codings=dense", "--rounds=0"),
    ]
