"""The leaves of a model with attention as ONNX operators.

TensorFlow has no operator for LayerNormalization, nor for a Reshape that keeps free
sizes, so that tf2onnx writes a dozen small ones in their place, which ONNX Runtime does
not put together again. Here a leaf puts a `PyFunc` into the graph that names the ONNX
operator; it is never run, and `HANDLERS` make tf2onnx write that operator.

Weights pass tf2onnx by, since it copies all constants dozens of times: it sees an
operator `Weight` without inputs, and `attach_weights` puts an initializer in its place.

What has no ONNX operator of its own, and layers that do not compute in float32, go
through tf2onnx as they are. The reasons, with figures, are in
docs/decisions/transformer_export.md.
"""

import json
import math

_DOMAIN = "tfcompress"
_WEIGHT = "Weight"

# More than any score is, and within float16's range.
_HIGHEST_SCORE = 3e4


class OnnxLeaves:
    """Functions for the leaves of one model, and the weights that they took.

    Attributes:
        weights: name of a weight (`layer/kernel`) -> its `tf.Variable`.
    """

    def __init__(self):
        """Begins without weights: they come as the graph is traced."""
        self.weights = {}
        self._limits = {}

    def replacements(self):
        """Gives what `use_flat_graph` takes: `{leaf class: function}`."""
        import tf_keras

        from tfcompress.bridge import attention_layers

        layers = tf_keras.layers
        functions = {
            layers.Embedding: self._embedding,
            layers.Dense: self._dense,
            layers.LayerNormalization: self._layer_normalization,
            layers.Activation: _activation,
            attention_layers.AttentionScores: _attention_scores,
            attention_layers.MaskScores: self._mask_scores,
            attention_layers.SplitHeads: _split_heads,
            attention_layers.MergeHeads: _merge_heads,
        }
        return {kind: _in_float32(function) for kind, function in functions.items()}

    def _embedding(self, layer, ids):
        import tensorflow as tf

        table = self._weight(layer, "embeddings")
        if ids.dtype not in (tf.int32, tf.int64):
            ids = tf.cast(ids, tf.int32)
        return _operator("Gather", [table, ids], [*ids.shape, layer.output_dim])

    def _dense(self, layer, inputs):
        kernel = self._weight(layer, "kernel")
        shape = [*inputs.shape[:-1], layer.units]
        outputs = _operator("MatMul", [inputs, kernel], shape)
        if layer.use_bias:
            outputs = _operator("Add", [outputs, self._weight(layer, "bias")], shape)
        return _activate(layer.activation, outputs)

    def _layer_normalization(self, layer, inputs):
        is_last = list(layer.axis) == [len(inputs.shape) - 1]
        if not (is_last and layer.center and layer.scale):
            return type(layer).call(layer, inputs)
        scales = [self._weight(layer, name) for name in ("gamma", "beta")]
        return _operator(
            "LayerNormalization",
            [inputs, *scales],
            inputs.shape,
            axis=-1,
            epsilon=float(layer.epsilon),
        )

    def _mask_scores(self, layer, inputs):
        import tensorflow as tf

        scores, mask = inputs
        key = (mask.ref(), layer.penalty)
        if key not in self._limits:
            # Once for all layers: tf2onnx joins equals under the name of any of them.
            self._limits[key] = _score_limit(mask, layer.penalty)
        # One pass over the scores, where the leaf needs two, to the same end.
        return tf.minimum(scores, self._limits[key])

    def _weight(self, layer, name):
        """Puts a weight into the graph, as an operator that `attach_weights` finds."""
        variable = getattr(layer, name)
        key = f"{layer.name}/{name}"
        self.weights[key] = variable
        return _operator(_WEIGHT, [], variable.shape, node=name, key=key)


def _in_float32(function):
    """Lets a function have the layers that compute in float32, and no others."""

    def call(layer, inputs):
        if layer.compute_dtype != "float32":
            return type(layer).call(layer, inputs)
        return function(layer, inputs)

    return call


def _activation(layer, inputs):
    return _activate(layer.activation, inputs)


def _activate(activation, inputs):
    """Applies an activation; TensorFlow computes the exact GELU by Erfc.

    ONNX lacks Erfc. ONNX Runtime finds the GELU in these operators in this order, which
    TensorFlow would change if they were its own.
    """
    import tf_keras

    if activation is not tf_keras.activations.gelu:
        return activation(inputs)
    shape = inputs.shape
    ratio = _operator("Div", [inputs, _constant(math.sqrt(2.0))], shape)
    error = _operator("Erf", [ratio], shape)
    doubled = _operator("Add", [error, _constant(1.0)], shape)
    product = _operator("Mul", [inputs, doubled], shape)
    return _operator("Mul", [product, _constant(0.5)], shape)


def _attention_scores(layer, inputs):
    import tensorflow as tf

    query, key = inputs
    # Behind the product ONNX Runtime makes the factor a part of it; in front of it
    # tf2onnx moves the factor before the Transpose, where it is not found.
    return tf.matmul(query, key, transpose_b=True) * layer.scale


def _score_limit(mask, penalty):
    """Returns the highest score of each position: minus the penalty where masked."""
    import tensorflow as tf

    if len(mask.shape) == 2:
        mask = mask[:, tf.newaxis, tf.newaxis, :]
    keep = tf.cast(tf.cast(mask, tf.bool), tf.float32)
    return keep * (_HIGHEST_SCORE + penalty) - penalty


def _split_heads(layer, inputs):
    import tensorflow as tf

    size = inputs.shape[-1] // layer.num_heads
    # A size of 0 stays as it is, which ONNX can say and TensorFlow cannot.
    heads = _reshape(inputs, [0, 0, layer.num_heads, size])
    return tf.transpose(heads, [0, 2, 1, 3])


def _merge_heads(layer, inputs):
    import tensorflow as tf

    del layer
    merged = tf.transpose(inputs, [0, 2, 1, 3])
    # tf2onnx drops the transpose of one head: then its axis is in the length's place.
    length = -1 if inputs.shape[1] == 1 else 0
    return _reshape(merged, [0, length, inputs.shape[1] * inputs.shape[3]])


def _reshape(inputs, shape):
    """Reshapes by ONNX's rules; the first two sizes stay."""
    import tensorflow as tf

    target = [*inputs.shape[:2], *shape[2:]]
    return _operator("Reshape", [inputs, tf.constant(shape, tf.int64)], target)


def _constant(value):
    import tensorflow as tf

    return tf.constant(value, tf.float32)


def _operator(op_type, inputs, shape, *, node=None, **attributes):
    """Puts an ONNX operator with one float32 output into the TensorFlow graph.

    Args:
        op_type: the operator's name in ONNX.
        inputs: list of tensors.
        shape: shape of the output; None where any size will do.
        node: last part of the node's name; `op_type` unless given.
        **attributes: those of the ONNX operator, as numbers and strings.
    """
    import tensorflow as tf

    token = json.dumps({"op_type": op_type, "attributes": attributes})
    (output,) = tf.raw_ops.PyFunc(
        input=inputs, token=token, Tout=[tf.float32], name=node or op_type
    )
    output.set_shape(shape)
    return output


def known_shapes(function):
    """Gives the shapes that TensorFlow cannot infer, as tf2onnx's `shape_override`.

    Args:
        function: concrete function.
    Returns:
        Name of a tensor -> list of sizes, None where any will do.
    """
    return {
        operator.outputs[0].name: operator.outputs[0].shape.as_list()
        for operator in function.graph.get_operations()
        if operator.type == "PyFunc"
    }


def _write_operator(context, node, name, args):
    """Writes the ONNX operator that a `PyFunc` stands for; a handler of tf2onnx."""
    del args
    operator = json.loads(node.get_attr_str("token"))
    shapes, dtypes = node.output_shapes, node.output_dtypes
    context.remove_node(name)
    context.make_node(
        operator["op_type"],
        node.input,
        name=name,
        outputs=node.output,
        shapes=shapes,
        dtypes=dtypes,
        attr=operator["attributes"],
        domain=_DOMAIN if operator["op_type"] == _WEIGHT else "",
    )


HANDLERS = {"PyFunc": (_write_operator, [])}
"""What tf2onnx takes as `custom_op_handlers`."""


def attach_weights(model, weights):
    """Puts initializers in the place of the operators that stand for weights.

    Args:
        model: `onnx.ModelProto`, changed in place.
        weights: `OnnxLeaves.weights`, whose names the initializers get.
    """
    import onnx

    graph = model.graph
    names = {}
    for node in [node for node in graph.node if node.domain == _DOMAIN]:
        names[node.output[0]] = node.attribute[0].s.decode()
        graph.node.remove(node)
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
    for name in dict.fromkeys(names.values()):
        values = weights[name].numpy()
        graph.initializer.append(onnx.numpy_helper.from_array(values, name))
