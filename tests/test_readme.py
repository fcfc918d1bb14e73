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


@pytest.mark.parametrize("name", ["README.md", "docs/transformers.md"])
def test_documents_have_python_examples(name):
    assert _python_blocks(ROOT / name)


def test_python_blocks_of_all_documents_parse():
    for path in [README, *sorted(ROOT.glob("docs/**/*.md"))]:
        for block in _python_blocks(path):
            ast.parse(block, filename=str(path))


def _python_blocks(path):
    return re.findall(r"```python\n(.*?)```", path.read_text("utf-8"), re.S)
