"""The inference function of a Keras 3 model, with names that stay.

Keras's own `model.export` calls the output `output_0` in TFLite, `Identity:0` in ONNX
and three names at once in OpenVINO, and lets a .tflite file use operators that the
stock interpreter lacks. So the converters get this function instead.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

from tfcompress.bridge.graphs import check_model, functional_graph
from tfcompress.errors import UnsupportedModelError
from tfcompress.runtime.session import TensorSpec


@dataclasses.dataclass(frozen=True)
class Serving:
    """What a converter needs of a model.

    Attributes:
        model: the Keras 3 model.
        function: `tf.function` of one tensor for each of `inputs`, in their order, to a
            dictionary of tensors by output name. It runs the model as in inference.
        inputs: `TensorSpec` of each input; the batch is `None`.
        outputs: `TensorSpec` of each output.
    """

    model: Any
    function: Callable
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    @property
    def concrete_function(self):
        """The function traced with the shapes of `inputs`."""
        return self.function.get_concrete_function()


def make_serving(model):
    """Makes the inference function of a model.

    Inputs have the names of the model's `keras.Input`s; outputs have the keys of the
    model's output dictionary, or else the names of the layers that put them out.

    Args:
        model: functional or Sequential Keras 3 model.
    Returns:
        `Serving`.
    Raises:
        InvalidValueError: if it is no Keras 3 model.
        UnsupportedModelError: if the model is subclassed or not built, or two outputs
            have the same name.
    """
    import tensorflow as tf

    check_model(model)
    graph = functional_graph(model, model.name)
    inputs = _specs(graph.inputs, [tensor.name for tensor in graph.inputs])
    outputs = _specs(graph.outputs, _output_names(graph))
    _check_distinct(model, [spec.name for spec in outputs])

    def serve(*tensors):
        results = graph(_arrange(graph.input, tensors), training=False)
        flat = tf.nest.flatten(results)
        return {spec.name: tensor for spec, tensor in zip(outputs, flat, strict=True)}

    signature = [tf.TensorSpec(s.shape, s.dtype, name=s.name) for s in inputs]
    function = tf.function(serve, input_signature=signature, autograph=False)
    return Serving(model, function, inputs, outputs)


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
