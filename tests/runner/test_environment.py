"""Tests of what is noted of the machine and the code."""

import datetime
import hashlib
import os

import numpy as np

from tfcompress.record import new_record
from tfcompress.runner import environment
from tfcompress.runner.environment import code_fingerprint, describe_environment


def test_environment_fits_the_record():
    found = new_record(environment=describe_environment())["environment"]
    assert found["num_cores"] == len(os.sched_getaffinity(0))
    assert found["versions"]["numpy"] == np.__version__
    started = datetime.datetime.fromisoformat(found["started_at"])
    assert started.utcoffset() == datetime.timedelta(0)


def test_code_fingerprint_is_that_of_names_and_contents(tmp_path, monkeypatch):
    monkeypatch.setattr(environment, "_ROOT", tmp_path)
    for name in ("tfcompress/a.py", "experiments/b.py", "tests/c.py"):
        path = tmp_path / name
        path.parent.mkdir()
        path.write_text("x = 1\n")
    content = b"tfcompress/a.pyx = 1\nexperiments/b.pyx = 1\n"
    assert code_fingerprint() == hashlib.sha256(content).hexdigest()[:16]
    (tmp_path / "tests" / "c.py").write_text("x = 2\n")  # makes no result
    before = code_fingerprint()
    (tmp_path / "tfcompress" / "a.py").write_text("x = 2\n")
    changed = code_fingerprint()
    (tmp_path / "tfcompress" / "a.py").rename(tmp_path / "tfcompress" / "d.py")
    assert len({before, changed, code_fingerprint()}) == 3
