"""Tests of the errors that users see."""

import pytest

from tfcompress.errors import MissingDependencyError, require


def test_require_missing_package_names_the_extra():
    message = "'not-there' is needed.*pip install not-there .*extra 'onnx'"
    with pytest.raises(MissingDependencyError, match=message):
        require("not_there.inside", extra="onnx")


def test_require_missing_package_of_another_name_names_it():
    message = "'scikit-there' is needed.*pip install scikit-there .*extra 'dev'"
    with pytest.raises(MissingDependencyError, match=message):
        require("not_there", extra="dev", package="scikit-there")


def test_require_package_that_fails_inside_is_not_called_missing(tmp_path, monkeypatch):
    (tmp_path / "broken_package.py").write_text("import no_such_package")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="no_such_package") as raised:
        require("broken_package", extra="onnx")
    assert not isinstance(raised.value, MissingDependencyError)
