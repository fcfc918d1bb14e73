"""The rule of EinsumDense, where it is a Dense in disguise."""

import math

from tfcompress.bridge.activations import activation_rule
from tfcompress.bridge.rules import Weight


def einsum_dense(layer, leaves):
    """Makes the Dense of a projection of the last axes, between reshapes if need be.

    `abc,cd->abd` is a Dense. `abc,cde->abde` is one whose outputs are split afterwards,
    `abcd,cde->abe` one whose inputs are merged before.

    Raises:
        UnsupportedModelError: if the equation says something else.
    """
    import tf_keras

    from tfcompress.bridge.attention_layers import ReshapeEnd

    order, num_bound = _kernel_order(layer, leaves)
    sizes = [layer.kernel.shape[axis] for axis in order]
    bound, new = sizes[:num_bound], sizes[num_bound:]
    leaves.drop_penalties()
    steps = []
    if len(bound) > 1:
        shape = [math.prod(bound)]
        steps.append(leaves.add(ReshapeEnd, "in", num_axes=len(bound), shape=shape))
    units = math.prod(new)
    kernel = Weight(layer.kernel, order, (math.prod(bound), units))
    bias = None if layer.bias is None else Weight(layer.bias, shape=(units,))
    dense = leaves.add(
        tf_keras.layers.Dense,
        units=units,
        use_bias=bias is not None,
        weights=[kernel, bias],
    )
    steps.append(dense)
    if len(new) > 1:
        steps.append(leaves.add(ReshapeEnd, "out", num_axes=1, shape=new))
    if layer.get_config()["activation"] != "linear":
        steps.append(activation_rule(layer.activation, leaves, "activation"))

    def call(inputs):
        for step in steps:
            inputs = step(inputs)
        return inputs

    return call


def _kernel_order(layer, leaves):
    """Gives the kernel's axes, those of the inputs first, and how many those are."""
    inputs, kernel, outputs = layer.equation.replace("->", ",").split(",")
    if inputs.startswith("...") and outputs.startswith("..."):
        # An axis of any name stands for those that are left alone.
        inputs, outputs = f".{inputs[3:]}", f".{outputs[3:]}"
    bound = "".join(axis for axis in inputs if axis in kernel)
    free = inputs[: len(inputs) - len(bound)]
    new = outputs[len(free) :]
    is_dense = (
        inputs == free + bound
        and outputs == free + new
        and sorted(kernel) == sorted(bound + new)
        and len({*free, *bound, *new}) == len(free + bound + new)
        and free
        and bound
        and new
    )
    if not is_dense or "..." in inputs + outputs:
        raise leaves.unsupported(
            f"has equation={layer.equation!r}, which is no Dense along the last axes, "
            "such as 'abc,cd->abd'"
        )
    if layer.bias is not None and set(layer.bias_axes) != set(new):
        raise leaves.unsupported(
            f"has bias_axes={layer.bias_axes!r}; only the axes that the kernel adds, "
            f"{new!r}, or None can be compressed"
        )
    return tuple(kernel.index(axis) for axis in bound + new), len(bound)
