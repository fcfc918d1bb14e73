"""The inference function of a Keras 3 model, with names that stay.

Keras's own `model.export` calls the output `output_0` in TFLite, `Identity:0` in ONNX
and three names at once in OpenVINO, and lets a .tflite file use operators that the
stock interpreter lacks. So the converters get this function instead.

Keras 3 computes attention by einsum, which the converters take to pieces. So a model
with attention is exported from its flat tf_keras twin (`use_flat_graph`), in which each
format puts the operators that its runtime runs best.
"""

import dataclasses
import functools
import logging
from collections.abc import Callable
from typing import Any

from tfcompress.bridge import to_tf_keras
from tfcompress.bridge.graphs import check_model, functional_graph, input_names
from tfcompress.errors import UnsupportedModelError
from tfcompress.runtime.session import TensorSpec

_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Serving:
    """What a converter needs of a model.

    Attributes:
        model: the Keras 3 model.
        function: `tf.function` of one tensor for each of `inputs`, in their order, to a
            dictionary of tensors by output name. It runs the model as in inference.
        inputs: `TensorSpec` of each input; the batch is `None`.
        outputs: `TensorSpec` of each output.
        flat: whether the function runs the flat twin of the model.
        keeps_operators: whether it never shall.
    """

    model: Any
    function: Callable
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    flat: bool = False
    keeps_operators: bool = False

    @property
    def concrete_function(self):
        """The function traced with the shapes of `inputs`."""
        return self.function.get_concrete_function()

    def compute(self, arrays):
        """Runs the Keras model itself, as in inference.

        Args:
            arrays: an array for each of `inputs`, in their order.
        Returns:
            List of arrays, one for each of `outputs`.
        """
        import keras
        import tensorflow as tf

        graph = functional_graph(self.model, self.model.name)
        tensors = [tf.constant(array) for array in arrays]
        results = graph(_arrange(graph.input, tensors), training=False)
        return [keras.ops.convert_to_numpy(x) for x in tf.nest.flatten(results)]


def make_serving(model, *, keeps_operators=False):
    """Makes the inference function of a model.

    Inputs have the names of the model's `keras.Input`s; outputs have the keys of the
    model's output dictionary, or else the names of the layers that put them out.

    Args:
        model: functional or Sequential Keras 3 model.
        keeps_operators: as of `export_model`.
    Returns:
        `Serving`.
    Raises:
        InvalidValueError: if it is no Keras 3 model.
        UnsupportedModelError: if the model is subclassed or not built, or two outputs
            have the same name.
    """
    check_model(model)
    graph = functional_graph(model, model.name)
    inputs = _specs(graph.inputs, input_names(graph.inputs))
    outputs = _specs(graph.outputs, _output_names(graph))
    _check_distinct(model, [spec.name for spec in outputs])
    function = _function(graph, inputs, outputs)
    return Serving(model, function, inputs, outputs, keeps_operators=keeps_operators)


def use_flat_graph(serving, replacements):
    """Serves a model with attention from its flat tf_keras twin.

    The twin's layers are leaves (`tfcompress.bridge.attention_layers` has those of
    attention); each writer names the leaves that its format would like otherwise.
    Names and shapes of inputs and outputs stay, and so do the weights.

    Args:
        serving: `Serving`.
        replacements: `{leaf class: function}`, where `function(layer, inputs)` computes
            what a layer of exactly this class computes; `inputs` is a tensor, or a list
            of them. `type(layer).call(layer, inputs)` is the layer's own way.
    Returns:
        `Serving` of the twin; `serving` itself if it keeps its operators, or the model
        has no attention or cannot cross, of which a line in the log says why.
    """
    if serving.keeps_operators or not _has_attention(serving.model):
        return serving
    try:
        flat = to_tf_keras(serving.model)
    except UnsupportedModelError as error:
        _log.warning(
            "Model %r is exported with the operators of Keras, which may be slower: %s",
            serving.model.name,
            error,
        )
        return serving
    for layer in flat.layers:
        if type(layer) in replacements:
            # This twin is of no other use, so that its layers may be changed.
            layer.call = functools.partial(replacements[type(layer)], layer)
    function = _function(flat, serving.inputs, serving.outputs)
    return dataclasses.replace(serving, function=function, flat=True)


def _has_attention(model):
    import keras

    attention = keras.layers.MultiHeadAttention
    return any(isinstance(layer, attention) for layer in model._flatten_layers())


def _function(graph, inputs, outputs):
    """Makes the `tf.function` that runs a functional model, of Keras 3 or tf_keras."""
    import tensorflow as tf

    def serve(*tensors):
        results = graph(_arrange(graph.input, tensors), training=False)
        flat = tf.nest.flatten(results)
        return {spec.name: tensor for spec, tensor in zip(outputs, flat, strict=True)}

    signature = [tf.TensorSpec(s.shape, s.dtype, name=s.name) for s in inputs]
    return tf.function(serve, input_signature=signature, autograph=False)


def _arrange(structure, tensors):
    """Arranges tensors as the model was built to take them."""
    import tensorflow as tf

    return tf.nest.pack_sequence_as(structure, tensors)


def _output_names(graph):
    if isinstance(graph.output, dict):
        # In the order in which tf.nest flattens a dictionary.
        return sorted(graph.output)
    return graph.output_names


def _specs(tensors, names):
    return tuple(
        TensorSpec(name, tuple(tensor.shape), tensor.dtype)
        for name, tensor in zip(names, tensors, strict=True)
    )


def _check_distinct(model, output_names):
    """Refuses a layer that puts out twice; Keras refuses such inputs itself."""
    for name in output_names:
        if output_names.count(name) > 1:
            raise UnsupportedModelError(
                f"Model {model.name!r} has two outputs of the name {name!r}. Give the "
                "model a dictionary of outputs, with a key for each."
            )


def refusal(serving, kind, reason):
    """Makes the error for a model that a format cannot express.

    Args:
        serving: `Serving`.
        kind: the format's name for people.
        reason: what the converter says, in a few words.
    Returns:
        `UnsupportedModelError`.
    """
    return UnsupportedModelError(
        f"Model {serving.model.name!r} cannot be written as {kind}: "
        f"{reason.strip().rstrip('.')}. Replace the layer, or choose another format."
    )
