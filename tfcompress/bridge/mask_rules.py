"""What Keras 3's standard layers do with masks, written out in tensors.

tf_keras attaches a mask to a tensor and passes it on in silence. Wrappers of TFMOT lose
it there, and where layers merge, tf_keras joins masks with AND and Keras 3 with OR. In
the bridge a mask is therefore a tensor of the graph, which `mask=` hands to the layers
that use it. Each function here takes `(layer, leaves, call)` and returns another call.
"""

from tfcompress.bridge.rules import Masked


def embedding(layer, leaves, call):
    """Gives the mask of a `mask_zero` embedding: the ids that are not zero."""
    if not layer.mask_zero:
        return call
    mask = leaves.compute("not_equal", "mask", operands=[None, 0])
    return lambda ids: Masked(call(ids), mask(ids))


def join(layer, leaves, call):
    """Joins the masks of a merging layer: OR, and none if one input has none."""

    def merge(inputs):
        masks = _distinct(leaves.mask_of(tensor) for tensor in inputs)
        if any(mask is None for mask in masks):
            return Masked(call(inputs), None)
        return Masked(call(inputs), _any_of(masks, leaves))

    return merge


def concatenate(layer, leaves, call):
    """Joins the masks along the last axis, where a step counts if any input's does."""

    def merge(inputs):
        masks = _distinct(leaves.mask_of(tensor) for tensor in inputs)
        if masks == [None]:
            return call(inputs)
        if layer.axis not in (-1, len(inputs[0].shape) - 1):
            raise leaves.unsupported(
                f"joins masked tensors along axis {layer.axis}, which is not the last"
            )
        if any(mask is None for mask in masks):
            return Masked(call(inputs), None)
        return Masked(call(inputs), _any_of(masks, leaves))

    return merge


def refuse(layer, leaves, call):
    """Lets a merge of masked inputs cross as it is: it leaves masked values out."""

    def merge(inputs):
        if any(leaves.mask_of(tensor) is not None for tensor in inputs):
            raise leaves.unsupported("takes masked tensors, which it leaves out")
        return call(inputs)

    return merge


def recurrent(layer, leaves, call):
    """Keeps the mask of the steps if the layer returns all of them."""

    def run(*args, mask=None, **kwargs):
        if mask is None:
            return call(*args, **kwargs)
        outputs = call(*args, mask=mask, **kwargs)
        steps = 2 if getattr(layer, "merge_mode", "") is None else 1
        return Masked(outputs, [mask] * steps if layer.return_sequences else None)

    return run


def softmax(layer, leaves, call):
    """Gives masked positions the probability 0, even if all of them are masked."""

    def run(inputs, mask=None):
        if mask is None:
            return call(inputs)
        low = -3e4 if layer.compute_dtype == "float16" else -1e9
        lowest = leaves.compute("where", "unmasked", operands=[None, None, low])
        zero = leaves.compute("where", "masked", operands=[None, None, 0.0])
        return Masked(zero([mask, call(lowest([mask, inputs]))]), mask)

    return run


def _distinct(masks):
    """Gives the masks without those that are the same tensor."""
    return list({id(mask): mask for mask in masks}.values())


def _any_of(masks, leaves):
    result = masks[0]
    for number, mask in enumerate(masks[1:], start=1):
        either = leaves.compute("logical_or", f"mask_{number}", operands=[None, None])
        result = either([result, mask])
    return result
