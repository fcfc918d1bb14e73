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
from collections.abc import Mapping
from typing import Any

from tfcompress.bridge import clone_in_float32, to_tf_keras
from tfcompress.bridge.graphs import check_model, functional_graph, input_names
from tfcompress.errors import UnsupportedModelError
from tfcompress.export.keras_functions import EVERYWHERE, replaced
from tfcompress.export.model_checks import (
    check_dtypes,
    check_names,
    computes_in,
    output_names,
)
from tfcompress.runtime.session import TensorSpec

_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Serving:
    """What a converter needs of a model.

    Attributes:
        model: the Keras 3 model.
        graph: the functional model that is run: the model's own, or its flat twin's.
        inputs: `TensorSpec` of each input; the batch is `None` unless it is fixed.
        outputs: `TensorSpec` of each output.
        functions: functions of Keras's backend to replace, as `keras_functions` has
            them for each format.
        flat: whether `graph` is that of the flat twin.
        optimize_attention: whether it shall be, where there is attention.
    """

    model: Any
    graph: Any
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    functions: Mapping = dataclasses.field(default_factory=EVERYWHERE.copy)
    flat: bool = False
    optimize_attention: bool = True

    @functools.cached_property
    def function(self):
        """`tf.function` of a tensor for each input to a dictionary by output name.

        It runs the model as in inference.
        """
        import tensorflow as tf

        signature = [tf.TensorSpec(s.shape, s.dtype, name=s.name) for s in self.inputs]
        return tf.function(self._serve, input_signature=signature, autograph=False)

    @functools.cached_property
    def concrete_function(self):
        """The function traced with the shapes of `inputs`; it captures variables alone.

        Raises:
            UnsupportedModelError: if the model does not run, or its inputs, outputs or
                layers have names or dtypes that no graph can have.
        """
        check_names(self.model, self.inputs, self.outputs)
        check_dtypes(self.model, [*self.inputs, *self.outputs])
        try:
            return self.function.get_concrete_function()
        except Exception as error:
            raise UnsupportedModelError(
                f"Model {self.model.name!r} cannot be exported, because it cannot be "
                f"run: {type(error).__name__} in {_innermost_layer(error)}. Call the "
                "model on a batch to see the whole error."
            ) from error

    def _serve(self, *tensors):
        import tensorflow as tf

        _keep_constants(tf.compat.v1.get_default_graph())
        with replaced(self.functions):
            results = self.graph(_arrange(self.graph.input, tensors), training=False)
        flat = tf.nest.flatten(results)
        return {s.name: x for s, x in zip(self.outputs, flat, strict=True)}

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


def make_serving(
    model, *, optimize_attention=True, keeps_dtypes=False, batch_size=None
):
    """Makes the inference function of a model.

    Inputs have the names of the model's `keras.Input`s; outputs have the keys of the
    model's output dictionary, or else the names of the layers that put them out. A
    model that computes in float16 or bfloat16, or mixes it with float32, is served from
    a copy in float32: of the runtimes' processors few compute in less, and some refuse.

    Args:
        model: functional or Sequential Keras 3 model.
        optimize_attention: as of `export_model`.
        keeps_dtypes: whether a model in small floats is served as it is.
        batch_size: as of `export_model`.
    Returns:
        `Serving`.
    Raises:
        InvalidValueError: if it is no Keras 3 model, or built for another batch size.
        UnsupportedModelError: if the model is subclassed or not built, or its outputs
            are nested.
    """
    check_model(model)
    if not keeps_dtypes and computes_in(model, "float16", "bfloat16"):
        model = _clone_in_float32(model)
    graph = functional_graph(model, model.name)
    inputs = _specs(graph.inputs, input_names(graph.inputs), batch_size)
    outputs = _specs(graph.outputs, output_names(graph, model.name), batch_size)
    return Serving(model, graph, inputs, outputs, optimize_attention=optimize_attention)


def _clone_in_float32(model):
    try:
        return clone_in_float32(model)
    except Exception as error:
        raise UnsupportedModelError(
            f"Model {model.name!r} computes in float16 or bfloat16, which files "
            f"cannot, and copying it to float32 ended with {type(error).__name__}. "
            "Build it with the dtype policy 'float32' and give it the weights."
        ) from error


def use_functions(serving, functions):
    """Serves a model with functions of Keras's backend that a format can express.

    Args:
        serving: `Serving`.
        functions: one of the mappings of `keras_functions`.
    Returns:
        `Serving`.
    """
    return dataclasses.replace(serving, functions=functions)


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
        `Serving` of the twin; `serving` itself if it is not to be optimized, or the
        model has no attention or cannot cross, of which a line in the log says why.
    """
    if not serving.optimize_attention or not _has_attention(serving.model):
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
    return dataclasses.replace(serving, graph=flat, flat=True)


def _has_attention(model):
    import keras

    attention = keras.layers.MultiHeadAttention
    return any(isinstance(layer, attention) for layer in model._flatten_layers())


def _keep_constants(graph):
    """Lets a graph hold what it captures by value, but for variables and tables.

    A function takes tensors that exist already, such as the mean of a Normalization, as
    further inputs, and converters take those for inputs of the model.
    """
    import tensorflow as tf

    capture, constants = graph.capture, {}

    def capture_value(tensor, name=None, shape=None):
        is_value = tf.is_tensor(tensor) and not tf.is_symbolic_tensor(tensor)
        if not is_value or tensor.dtype in (tf.resource, tf.variant):
            return capture(tensor, name, shape)
        if id(tensor) not in constants:
            with graph.as_default(), tf.control_dependencies(None):
                constant = tf.constant(tensor.numpy(), tensor.dtype, name=name)
            # The tensor is kept, so that no other one gets its id.
            constants[id(tensor)] = tensor, constant
        return constants[id(tensor)][1]

    graph.capture = capture_value


def _innermost_layer(error):
    """Returns the layer whose call failed, in words, by the error's traceback."""
    import keras

    found = "its graph"
    traceback = error.__traceback__
    while traceback is not None:
        operation = traceback.tb_frame.f_locals.get("self")
        if isinstance(operation, keras.Operation):
            found = f"layer {operation.name!r} ({type(operation).__name__})"
        traceback = traceback.tb_next
    return found


def _arrange(structure, tensors):
    """Arranges tensors as the model was built to take them."""
    import tensorflow as tf

    return tf.nest.pack_sequence_as(structure, tensors)


def _specs(tensors, names, batch_size):
    return tuple(
        TensorSpec(name, _shape(tensor.shape, batch_size), tensor.dtype)
        for name, tensor in zip(names, tensors, strict=True)
    )


def _shape(shape, batch_size):
    """Returns the sizes, with a batch that is free fixed where one is given."""
    batch, *others = shape or (None,)
    sizes = (batch_size if batch is None else batch, *others)
    return sizes[: len(shape)]
