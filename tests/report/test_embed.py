"""Tests that tables get into documents."""

import pytest

from tfcompress.errors import InvalidValueError
from tfcompress.report.embed import embed, main


def test_embed_twice_is_embed_once():
    document = "a\n<!-- x -->\n<!-- /x -->\nb\n"
    table = "# x\n\n    command\n\n| 1 |\n"
    once = embed(document, "x", table)
    assert once == "a\n<!-- x -->\n\n    command\n\n| 1 |\n\n<!-- /x -->\nb\n"
    assert embed(once, "x", table) == once


def test_embed_without_markers_raises():
    with pytest.raises(InvalidValueError, match="lacks the lines '<!-- x -->'"):
        embed("a", "x", "b")


def test_main_missing_table_is_one_line(tmp_path, capsys):
    document = tmp_path / "README.md"
    document.write_text("<!-- x -->\n<!-- /x -->\n")
    assert main([str(document), "x", str(tmp_path / "table.md")]) == 1
    assert "table.md" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [document]
