"""Rows that workers make: the run is that of one process, to the bit."""

import keras
import numpy as np
import pytest

from experiments.check_kills import differences


@pytest.fixture(scope="module")
def command(tmp_path_factory):
    """A short run of three rows, without training."""
    folder = tmp_path_factory.mktemp("workers")
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


def test_two_processes_make_the_run_of_one(command, run, tmp_path):
    alone, together = tmp_path / "alone", tmp_path / "together"
    for folder, more in ((alone, ()), (together, ("--workers=2",))):
        status, out, err = run(*command, f"--run_dir={folder}", *more)
        assert (status, err) == (0, ""), out
    assert differences(alone, together) == []
    assert "2/2  compressed" in out
    # The same command has nothing left to do, whoever made the rows.
    status, out, _ = run(*command, f"--run_dir={together}")
    assert status == 0 and "The run is finished" in out


def test_worker_in_a_folder_without_a_run_is_refused(command, run, tmp_path):
    status, _, err = run(*command, f"--run_dir={tmp_path}", "--only=row:original")
    assert status == 1 and not list(tmp_path.iterdir())
    assert "holds no run of these flags and data: a worker takes part in a run" in err
    status, _, err = run(*command, "--only=timing")
    assert (status, err) == (1, "error: --only needs the --run_dir of the run.\n")
