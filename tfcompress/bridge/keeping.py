"""Makes the leaf of what crosses as it is, and calls it."""

import functools

from tfcompress.bridge.kept import Kept, KeptCall, Slot
from tfcompress.bridge.reasons import first_words, why_kept
from tfcompress.bridge.rules import DTYPE_POLICIES, is_symbolic
from tfcompress.errors import UnsupportedModelError


def keep(flattener, leaves, source, refusal=None):
    """Makes the leaf that runs a layer, operation or function as it is.

    Args:
        flattener: the `Flattener`, which knows the masks.
        leaves: `Leaves` of the source.
        source: the Keras 3 object, or a function.
        refusal: what its rule could not do, `None` where it has none.
    Returns:
        A function that takes the arguments of the source's call.
    """
    import keras

    from tfcompress.bridge.kept_layer import KeptLayer

    if keras.backend.backend() != "tensorflow":
        raise leaves.unsupported(
            "has no rule, and cannot cross as it is because Keras runs on "
            f"{keras.backend.backend()!r}: set KERAS_BACKEND=tensorflow before keras "
            "is imported"
        )
    kept = Kept(source, leaves.path, why_kept(source, refusal))
    for variable in kept.weights:
        for field in ("regularizer", "constraint"):
            if getattr(variable, field, None) is not None:
                leaves.drop(f"{variable.name}_{field}")
    policy = getattr(getattr(source, "dtype_policy", None), "name", None)
    leaf = leaves.add(
        KeptLayer,
        key=kept.key,
        weights=kept.weights,
        dtype=policy if policy in DTYPE_POLICIES else "float32",
    )
    return functools.partial(_call, flattener, leaf, leaves.describe())


def _call(flattener, leaf, owner, *args, **kwargs):
    """Calls the leaf with the masks of its tensors; `owner` is its source in errors."""
    import keras

    kept = leaf.kept
    arguments, tensors = _take_out_tensors(args, kwargs, owner)
    found = [flattener.read_mask(tensor, owner) for tensor in tensors]
    masks = {n: mask for n, mask in enumerate(found) if mask is not None}
    call = KeptCall(
        arguments,
        masks={n: len(tensors) + place for place, n in enumerate(masks)},
        expected=flattener.expected_shapes(kept.path),
    )
    kept.calls.append(call)
    made = _run([*tensors, *masks.values()], leaf, owner)
    for number in call.removed:
        flattener.remove_mask(tensors[number])
    outputs = made[: len(made) - len(call.output_masks)]
    flattener.set_masks(
        outputs,
        [
            made[call.output_masks[number]] if number in call.output_masks else None
            for number in range(len(outputs))
        ],
    )
    return keras.tree.pack_sequence_as(call.structure, outputs)


def _take_out_tensors(args, kwargs, owner):
    """Gives the arguments, with a `Slot` for each tensor, and the tensors."""
    import keras

    tensors = []

    def slot(value):
        if isinstance(value, keras.Variable):
            raise UnsupportedModelError(
                f"{owner} uses the variable {value.path!r}, which no layer of the "
                "model owns, so that Keras neither trains nor saves it; put it into a "
                "layer of your own."
            )
        if not is_symbolic(value):
            return value
        tensors.append(value)
        return Slot(len(tensors) - 1)

    kwargs = {
        name: value
        for name, value in kwargs.items()
        # `training` is fit's to say; a mask that is None lies at its tensor.
        if name != "training" and not (value is None and name.endswith("mask"))
    }
    return keras.tree.map_structure(slot, (args, kwargs)), tensors


def _run(tensors, leaf, owner):
    """Calls a leaf for the last of its calls, and gives a list of tensors."""
    try:
        made = leaf(tensors, call=len(leaf.kept.calls) - 1)
    except UnsupportedModelError:
        raise
    # What lies in the layer is other people's Python, which may raise anything.
    except Exception as error:
        raise UnsupportedModelError(
            f"{owner} has no rule, and as it is it does not run in a TensorFlow graph "
            f"({first_words(error)}): let its call use keras.ops on its tensors, and "
            "no Python on their values."
        ) from error
    return list(made) if isinstance(made, (list, tuple)) else [made]
