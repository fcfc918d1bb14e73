"""Which tables the integers of a model's inputs are looked up in.

OpenVINO gives zeros for a row that is not there, so that trying does not tell. The
other runtimes refuse it.
"""

import pathlib

from tfcompress.formats import FORMATS
from tfcompress.formats.openvino_file import read_model

# They hand a row's number on as it is, or in another shape or type.
_MOVES = {
    *("Convert", "Reshape", "Squeeze", "Unsqueeze", "Transpose", "Concat", "Slice"),
    *("StridedSlice", "Split", "VariadicSplit", "Maximum", "Minimum", "Broadcast"),
}


def table_sizes(model):
    """Returns the rows of the tables behind each input.

    Args:
        model: dict of `format`, `folder` and `files`, as `load_session` takes them.
    Returns:
        Input name -> list of one size; no key where the input meets no table. None for
        a format whose runtime refuses rows that are not there.
    """
    if model["format"] != "openvino":
        return None
    main = FORMATS[model["format"]].main_file(model["files"])
    graph = read_model(pathlib.Path(model["folder"], main))
    sizes = {}
    for port in graph.inputs:
        rows = _rows_behind(port.get_node().output(0))
        if rows:
            sizes |= {name: [min(rows)] for name in port.get_names()}
    return sizes


def _rows_behind(output):
    """Returns the numbers of rows of all tables that an output is looked up in."""
    rows, seen, waiting = set(), set(), [output]
    while waiting:
        for port in waiting.pop().get_target_inputs():
            node = port.get_node()
            kind = node.get_type_name()
            if kind == "Gather" and port.get_index() == 1:
                table = node.input_value(0).get_partial_shape()
                if table.rank.is_static and len(table) and table[0].is_static:
                    rows.add(table[0].get_length())
            elif kind in _MOVES and node.get_friendly_name() not in seen:
                seen.add(node.get_friendly_name())
                waiting += node.outputs()
    return rows
