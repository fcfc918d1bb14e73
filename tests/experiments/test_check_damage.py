"""The check of damaged files: what it counts, and that a few hundred do no harm."""

import json
import subprocess
import sys

import numpy as np
import pytest

from experiments import check_damage
from experiments._damage import damage
from experiments._damage_worker import open_damaged
from tfcompress.errors import DataError, InvalidValueError

KINDS = (
    "coding_tflite,coding_onnx,coding_onnx_external,artifact_tflite,altered_onnx,"
    "altered_coded_tflite,csv,tsv,jsonl,parquet,npz,tokenizer,vocabulary,words,"
    "checkpoint,preset,record,recipe,recipe_json"
)


def test_check_damage_counts_200_files_and_none_is_bad(run, tmp_path):
    folder = tmp_path / "run"
    arguments = ("--count=200", f"--kinds={KINDS}", f"--run_dir={folder}")
    status, _, err = run("check_damage", *arguments, timeout=600)
    assert (status, err) == (0, ""), (folder / "failures.jsonl").read_text()
    text = (folder / "table.md").read_text()
    assert "    make experiment NAME=check_damage ARGS=" in text
    (total,) = [line for line in text.splitlines() if line.startswith("| all |")]
    files, refused, right, *bad = (int(cell) for cell in total.split("|")[2:-1])
    assert files == 200 == refused + right
    assert min(refused, right) > 20
    assert bad == [0] * 5
    assert (folder / "failures.jsonl").read_text() == ""


def test_check_damage_unknown_kind_names_the_choices():
    with pytest.raises(InvalidValueError, match="no kind 'onyx'. Choose among coding"):
        check_damage.chosen_kinds(["onyx"])


def test_deal_gives_every_number_once():
    cases = [case for part in check_damage.deal(["csv", "npz"], 7) for case in part]
    assert sorted(number for _, number in cases) == list(range(7))


def fate_of(code):
    """Returns what is said of a worker that says it begins, and then runs `code`."""
    code = f"print('\"ready\"', flush=True)\n{code}"
    worker = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    try:
        lines = check_damage._Lines(worker)
        assert lines.next(60, limited=False) == "ready"
        assert lines.next(60) is None
        return lines.fate()
    finally:
        worker.kill()
        worker.wait()
        worker.stdout.close()


@pytest.mark.parametrize(
    ("code", "fate"),
    [
        ("import os; os.abort()", "crash"),
        ("while True: pass", "hang"),
        ("a = bytearray(2**20)\nimport time\ntime.sleep(60)", "memory"),
    ],
)
def test_worker_that_goes_too_far_is_told_apart(monkeypatch, code, fate):
    monkeypatch.setattr(check_damage, "MAX_SECONDS", 0.3)
    if fate == "memory":
        monkeypatch.setattr(check_damage, "MAX_BYTES", -1)
        monkeypatch.setattr(check_damage, "MAX_SECONDS", 60)
    assert fate_of(code) == fate


def test_open_damaged_tells_lines_from_tracebacks(tmp_path):
    def door(error):
        def open_it(_):
            raise error

        return open_it

    def outcome(error):
        return open_damaged(door(error), tmp_path, True)[0]

    assert outcome(DataError("It is damaged.")) == "refused"
    assert outcome(DataError("It\nis damaged.")) == "traceback"
    assert outcome(KeyError("a")) == "traceback"
    assert outcome(FileNotFoundError(2, "No such file")) == "refused"
    assert open_damaged(lambda _: 1, tmp_path, 1) == ("right", "")
    assert open_damaged(lambda _: 2, tmp_path, 1) == ("wrong", "")


@pytest.mark.parametrize("suffix", [".tflite", ".json", ".xml", ".csv"])
def test_damage_is_the_same_for_the_same_seed(suffix):
    data = {".json": json.dumps({"a": [1, {"b": 2}]}), ".xml": '<net a="1" b="2"/>'}
    data = data.get(suffix, "a,b\nc,d\n" * 30).encode()
    made = [
        [damage(data, suffix, np.random.default_rng([0, n])) for n in range(200)]
        for _ in range(2)
    ]
    assert made[0] == made[1]
    assert len(set(made[0])) > 100
