"""What TFMOT's three wrappers have in common: which layers they take, and refusals."""

import contextlib
import dataclasses

from tfcompress.compression_report import COMPRESSED, SKIPPED
from tfcompress.errors import InvalidValueError
from tfcompress.methods.constrained import copy_built
from tfcompress.methods.engines import OURS, STOCK

_NUM_CHARACTERS = 200  # of TFMOT's own words in an error


def obstacle(layer):
    """Returns why TFMOT's wrappers would compute a layer otherwise, or `None`.

    They call `layer.call`, past the dtype policy, and hand no mask on.
    """
    if layer.compute_dtype != "float32":
        return f"it computes in {layer.compute_dtype}, which TFMOT's wrapper does not"
    for node in range(len(layer.inbound_nodes)):
        for tensor in _flat(layer.get_output_at(node)):
            if getattr(tensor, "_keras_mask", None) is not None:
                return "it hands a mask on, which TFMOT's wrapper drops"
    return None


def restrict(plan, takes):
    """Takes out of a plan what TFMOT does not do.

    Args:
        plan: `Plan` of the method's own engine.
        takes: function of a `LayerRow` to why TFMOT leaves the layer out, or `None`.
    Returns:
        `(rows, left)`: tuple of `LayerRow`, and the names of the layers left out.
    Raises:
        InvalidValueError: if a rule names such a layer.
    """
    rows, left = [], set()
    for row in plan.rows:
        if row.status == COMPRESSED:
            if reason := takes(row):
                refuse_named(plan.config, row, reason)
                row = dataclasses.replace(row, status=SKIPPED, reason=reason)
                left.add(row.name)
            row = dataclasses.replace(row, requested=row.requested | {"engine": STOCK})
        rows.append(row)
    return tuple(rows), left


def refuse_named(config, row, reason):
    """Raises if a rule insists on a layer that TFMOT leaves out."""
    if config.layers.names(row.name, row.kind):
        raise InvalidValueError(
            f"Layer {row.name!r} ({row.kind}) cannot be treated by TFMOT: {reason}. "
            f"Leave it alone with layers={{{row.name!r}: None}}, take the rule that "
            f"names it away, or take engine={OURS!r}."
        )


@contextlib.contextmanager
def one_line_refusals(verb):
    """Turns what TFMOT raises inside the block into one line of ours.

    Args:
        verb: what it was to do, such as `"cluster"`.
    """
    try:
        yield
    except InvalidValueError:
        raise
    except Exception as error:  # TFMOT raises nearly all kinds
        words = " ".join(str(error).split())[:_NUM_CHARACTERS] or type(error).__name__
        raise InvalidValueError(
            f"TFMOT cannot {verb} this model: {words}. Leave the layer that it names "
            f"alone with layers=, or take engine={OURS!r}."
        ) from error


def wrap(model, names, wrapper):
    """Copies a model with TFMOT's wrappers around some of its layers.

    Args:
        model: flat functional tf_keras model; it is left as it was.
        names: names of the layers to wrap.
        wrapper: function of a built copy of a layer to what stands in its place.
    Returns:
        tf_keras model.
    """
    import tf_keras

    def copy(layer):
        if layer.name in names:
            return wrapper(copy_built(layer))
        return layer.__class__.from_config(layer.get_config())

    wrapped = tf_keras.models.clone_model(model, clone_function=copy)
    for layer in model.layers:
        if layer.name not in names:
            wrapped.get_layer(layer.name).set_weights(layer.get_weights())
    return wrapped


def fresh_copy(model, weights_of):
    """Copies a model and gives its layers other weights, without -0.0.

    TFMOT multiplies with masks, which makes -0.0: one more distinct value in a file.

    Args:
        model: tf_keras model; it is left as it was.
        weights_of: function of a layer's name to the arrays of its weights.
    """
    import tf_keras

    copy = tf_keras.models.clone_model(model)
    for layer in copy.layers:
        if layer.weights:
            layer.set_weights([array + 0 for array in weights_of(layer.name)])
    return copy


def _flat(tensors):
    return tensors if isinstance(tensors, list | tuple) else [tensors]
