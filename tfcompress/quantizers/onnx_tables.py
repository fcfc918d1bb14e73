"""Rows of ONNX tables are looked up as integers, and made floats after.

So that the table stays small in memory too: of a whole table that is made floats ONNX
Runtime would keep the floats.
"""

from tfcompress.quantizers.onnx_weights import TABLE


def look_up_integers(model, weight):
    """Rewrites the lookups in a table, in whatever graph they stand.

    Args:
        model: `OnnxModel`.
        weight: `Weight`, quantized.
    """
    for use in weight.uses:
        if use.kind == TABLE:
            _look_up(model, weight, use)


def _look_up(model, weight, use):
    node = use.node
    output, ids = node.output[0], node.input[1]
    rows = model.fresh(f"{output}_quantized")
    integers = weight.stored(use.order)
    scale_name = f"{weight.name}_scale"
    scales, before = weight.scales, []
    if not scales.ndim:
        scale = model.add_constant(weight.scope, scale_name, scales)
    else:  # a table that is multiplied with too: each row has a scale
        scales = model.add_constant(
            weight.scope, scale_name, scales.transpose(use.order)
        )
        scale = model.fresh(f"{output}_scale")
        before = [model.make_node("Gather", [scales, ids], scale)]
    lookup = type(node).FromString(node.SerializeToString())
    lookup.input[0], lookup.output[0] = integers, rows
    floats = weight.to_floats(rows, scale, output)
    use.scope.replace(use.index, [lookup, *before, *floats])
