"""Tests of what says which tfcompress this is."""

import hashlib

import pytest

from tfcompress.errors import StepError
from tfcompress.executor import identity as module
from tfcompress.executor.identity import check_identity, code_fingerprint, identity


def test_code_fingerprint_is_that_of_names_and_contents(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_ROOT", tmp_path)
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


def test_driver_of_other_code_is_refused_with_both_versions():
    check_identity(identity())
    ours, theirs = identity(), {"version": "9.8.7", "sources": "0123456789abcdef"}
    with pytest.raises(StepError) as caught:
        check_identity(theirs)
    message = str(caught.value)
    assert f"tfcompress {ours['version']} (sources {ours['sources']})" in message
    assert "tfcompress 9.8.7 (sources 0123456789abcdef)" in message
    assert "Install the same on both." in message
