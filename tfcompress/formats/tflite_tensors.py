"""Whether every tensor that a .tflite file reads is there: LiteRT does not ask.

An operator that reads what nothing makes ends the process (LiteRT 2.3), be it in the
call that prepares the graph.
"""

_MISSING = -1  # an optional input that is left out


def check_tensors_are_made(model):
    """Raises where an operator reads what is no input, no constant and not yet made.

    Args:
        model: the schema's `ModelT`, its indices within their lists.
    Raises:
        ValueError: if there is such an operator.

    Tensors without elements, and variables, which begin as zeros, need no data.
    """
    for number, graph in enumerate(model.subgraphs):
        made = set(_indices(graph.inputs)) | {_MISSING}
        made.update(
            index
            for index, tensor in enumerate(graph.tensors or ())
            if tensor.isVariable
            or _is_empty(tensor)
            or _has_data(model.buffers[tensor.buffer])
        )
        for place, operator in enumerate(graph.operators or ()):
            for index in _indices(operator.inputs):
                if index not in made:
                    raise ValueError(
                        f"operator {place} of graph {number} reads tensor {index}, "
                        "which nothing makes"
                    )
            made.update(_indices(operator.outputs))
            made.update(_indices(operator.intermediates))


def _indices(vector):
    return () if vector is None else vector.tolist()


def _is_empty(tensor):
    return tensor.shape is not None and 0 in tensor.shape.tolist()


def _has_data(buffer):
    return buffer.data is not None or buffer.offset > 1 or buffer.size > 0
