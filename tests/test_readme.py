"""Holds the README and the documents to the code: names exist, Python parses."""

import ast
import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).parents[1]
README = ROOT / "README.md"


def test_readme_example_names_what_the_package_has():
    import tfcompress

    text = README.read_text("utf-8")
    names = set(re.findall(r"tfcompress\.([a-zA-Z_0-9]+)\(", text))
    assert names
    assert names <= set(tfcompress.__all__)


def test_readme_python_blocks_parse():
    blocks = _python_blocks(README)
    assert len(blocks) == 3
    for block in blocks:
        assert ast.parse(block).body


@pytest.mark.parametrize("name", ["quantization", "transformers"])
def test_document_python_blocks_parse(name):
    blocks = _python_blocks(ROOT / "docs" / f"{name}.md")
    assert blocks
    for block in blocks:
        assert ast.parse(block).body


def _python_blocks(path):
    return re.findall(r"```python\n(.*?)```", path.read_text("utf-8"), re.S)
