"""Small .tflite files such as other people's tools write, and inputs for them."""

import dataclasses
import io
import tempfile
import zipfile
from collections.abc import Callable

import numpy as np

from tfcompress.formats.tflite_file import model_bytes, schema

EXAMPLES = 120


@dataclasses.dataclass(frozen=True)
class Graph:
    """What `build()` makes, and what the model takes.

    Attributes:
        build: function without arguments -> bytes of the file.
        inputs: input's name -> (shape without the batch, dtype, values below which).
        batch: examples in one run; None where any number will do.
        is_runnable: whether LiteRT has all of its operators.
    """

    build: Callable
    inputs: dict
    batch: int | None = None
    is_runnable: bool = True

    def examples(self, seed, count=EXAMPLES):
        """Makes random inputs: dict of arrays of `count` examples."""
        random = np.random.default_rng(seed)
        arrays = {}
        for name, (shape, dtype, limit) in self.inputs.items():
            if np.issubdtype(np.dtype(dtype), np.integer):
                arrays[name] = random.integers(0, limit, (count, *shape)).astype(dtype)
            else:
                arrays[name] = random.normal(size=(count, *shape)).astype(dtype)
        return arrays


def _weights(*shape, seed=0):
    """Makes weights of about unit gain."""
    fan_in = max(1, int(np.prod(shape[:-1])))
    random = np.random.default_rng([seed, *shape])
    return random.normal(0, fan_in**-0.5, shape).astype(np.float32)


def _convert(function, **specs):
    """Converts a function of tensors by name: name -> (shape, dtype)."""
    import tensorflow as tf

    model = tf.Module()
    signature = [tf.TensorSpec(s, d, name) for name, (s, d) in specs.items()]
    names = list(specs)
    model.run = tf.function(
        lambda *tensors: function(tf, **dict(zip(names, tensors, strict=True))),
        input_signature=signature,
    )
    return _converter(model.run, model).convert()


def _converter(function, model):
    import tensorflow as tf

    return tf.lite.TFLiteConverter.from_concrete_functions(
        [function.get_concrete_function()], model
    )


def _edit(content, change):
    """Applies `change(model, schema)` to the bytes of a file."""
    model = schema().ModelT.InitFromPackedBuf(content)
    change(model, schema())
    return model_bytes(model)


IMAGE = ((16, 16, 3), "float32", None)


def _mobile(tf, x):
    x = tf.nn.conv2d(x, _weights(3, 3, 3, 16), 2, "SAME") + _weights(16)
    x = x * tf.nn.relu6(x + 3.0) / 6.0
    depthwise = _weights(3, 3, 16, 1) * 5
    x = tf.nn.depthwise_conv2d(x, depthwise, [1, 1, 1, 1], "SAME") + _weights(16)
    x = tf.nn.relu(x) - tf.constant(_weights(16) ** 2) * tf.nn.relu(-x)
    y = tf.nn.relu6(tf.nn.conv2d(x, _weights(1, 1, 16, 24), 1, "SAME"))
    wide = tf.image.resize(y, (16, 16))
    mask = tf.nn.conv2d(wide, _weights(3, 3, 24, 1), 1, "SAME")
    scores = tf.reduce_mean(y, [1, 2]) @ _weights(24, 5) * 5
    return {"mask": tf.sigmoid(mask), "scores": scores}


def mobile():
    """Convolutions of all kinds of a small phone's model, two outputs."""
    return _convert(_mobile, x=((None, 16, 16, 3), "float32"))


def mobile_float16():
    """The same with float16 weights, which DEQUANTIZE makes float32."""
    import tensorflow as tf

    model = tf.Module()
    spec = tf.TensorSpec((None, 16, 16, 3), "float32", "x")
    model.run = tf.function(lambda x: _mobile(tf, x), input_signature=[spec])
    converter = _converter(model.run, model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_types = [tf.float16]
    return converter.convert()


def mobile_without_signature():
    """The same as old converters wrote it: names of tensors alone."""

    def strip(model, _):
        model.signatureDefs = None
        graph = model.subgraphs[0]
        graph.tensors[graph.inputs[0]].name = b"x"
        for index, name in zip(graph.outputs, (b"mask", b"scores"), strict=True):
            graph.tensors[index].name = name

    return _edit(mobile(), strip)


def mobile_with_metadata():
    """The same with metadata in a buffer and labels in an archive behind it."""

    def describe(model, fb):
        buffer, entry = fb.BufferT(), fb.MetadataT()
        buffer.data = np.frombuffer(b"\x14\0\0\0M001" + b"\0" * 16, np.uint8)
        model.buffers.append(buffer)
        entry.name, entry.buffer = b"TFLITE_METADATA", len(model.buffers) - 1
        model.metadata = [*(model.metadata or []), entry]

    stream = io.BytesIO()
    stream.write(_edit(mobile(), describe))
    with zipfile.ZipFile(stream, "a") as archive:
        archive.writestr("labels.txt", "cat\ndog\nbird\nfish\nfox\n")
    return stream.getvalue()


def table_alone():
    """A table, and nothing else that has weights."""

    def run(tf, tokens):
        table = tf.constant(_weights(400, 16) * 4)
        return {"y": tf.reduce_mean(tf.gather(table, tokens), 1)}

    return _convert(run, tokens=((None, 6), "int32"))


def any_size():
    """Convolutions over images of any size."""

    def run(tf, x):
        x = tf.nn.relu(tf.nn.conv2d(x, _weights(3, 3, 3, 8), 2, "SAME"))
        x = tf.nn.relu(tf.nn.conv2d(x, _weights(3, 3, 8, 16), 1, "VALID"))
        return {"y": tf.reduce_mean(x, [1, 2]) @ _weights(16, 4)}

    return _convert(run, x=((None, None, None, 3), "float32"))


def convolutions():
    """Dilated, grouped, strided, transposed, wide depthwise: one after the other."""

    def run(tf, x):
        x = tf.nn.relu(tf.nn.conv2d(x, _weights(3, 3, 3, 8), 1, "SAME", dilations=2))
        x = tf.nn.relu(tf.nn.conv2d(x, _weights(3, 3, 4, 16), 1, "SAME"))
        x = tf.nn.depthwise_conv2d(x, _weights(3, 3, 16, 2) * 4, [1, 2, 2, 1], "SAME")
        x = tf.nn.relu(x)
        size = [tf.shape(x)[0], 16, 16, 8]
        x = tf.nn.conv2d_transpose(x, _weights(3, 3, 8, 32) * 2, size, 2, "SAME")
        return {"y": tf.nn.max_pool2d(x + _weights(8), 2, 2, "SAME")}

    return _convert(run, x=((None, 16, 16, 3), "float32"))


def residual():
    """Two convolutions beside a shortcut, concatenated, padded and averaged."""

    def run(tf, x):
        x = tf.nn.relu(tf.nn.conv2d(x, _weights(3, 3, 3, 8), 1, "SAME"))
        y = tf.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]])
        y = tf.nn.relu(tf.nn.conv2d(y, _weights(3, 3, 8, 8), 1, "VALID"))
        x = tf.nn.relu(x + tf.nn.conv2d(y, _weights(3, 3, 8, 8, seed=1), 1, "SAME"))
        x = tf.concat([x, tf.nn.avg_pool2d(x, 3, 1, "SAME")], 3)
        x = tf.nn.conv2d(x, _weights(1, 1, 16, 8), 1, "SAME")
        return {"y": tf.reshape(tf.nn.max_pool2d(x, 4, 4, "SAME"), [-1, 128])}

    return _convert(run, x=((None, 16, 16, 3), "float32"))


def image_codec():
    """Strided convolutions of even kernels, and transposed ones back to the image."""

    def run(tf, x):
        y = tf.nn.conv2d(x, _weights(4, 4, 3, 16), 2, "SAME") + _weights(16)
        y = tf.nn.conv2d(y, _weights(4, 4, 16, 24), 2, "SAME")
        for size, shape in ((8, (4, 4, 16, 24)), (16, (4, 4, 3, 16))):
            sizes = [tf.shape(x)[0], size, size, shape[2]]
            y = tf.nn.conv2d_transpose(y, _weights(*shape), sizes, 2, "SAME")
            y = y + _weights(shape[2])
        return {"y": y}

    return _convert(run, x=((None, 16, 16, 3), "float32"))


def squeeze_excite():
    """Channels that a small network weighs, as in MobileNetV3."""

    def run(tf, x):
        x = tf.nn.relu(tf.nn.conv2d(x, _weights(3, 3, 3, 16), 2, "SAME"))
        gate = tf.reduce_mean(x, [1, 2], keepdims=True)
        gate = tf.nn.relu(tf.nn.conv2d(gate, _weights(1, 1, 16, 4), 1, "SAME"))
        gate = tf.nn.conv2d(gate, _weights(1, 1, 4, 16), 1, "SAME")
        x = x * (tf.nn.relu6(gate + 3.0) / 6.0)
        x = x * (tf.nn.relu6(x + 3.0) / 6.0)
        return {"y": tf.reduce_mean(x, [1, 2]) @ _weights(16, 5) * 5}

    return _convert(run, x=((None, 16, 16, 3), "float32"))


def outputs_between():
    """Every layer's result is an output, and is read by the next one."""

    def run(tf, x):
        a = tf.nn.conv2d(x, _weights(3, 3, 3, 8), 1, "SAME")
        b = tf.nn.depthwise_conv2d(a, _weights(3, 3, 8, 2) * 3, [1, 2, 2, 1], "SAME")
        size = [tf.shape(x)[0], 16, 16, 8]
        c = tf.nn.conv2d_transpose(b, _weights(3, 3, 8, 16) * 2, size, 2, "SAME")
        return {
            "a": a,
            "b": b,
            "c": c,
            "d": tf.nn.conv2d(c, _weights(3, 3, 8, 8), 1, "SAME"),
        }

    return _convert(run, x=((None, 16, 16, 3), "float32"))


def one_dimension():
    """A convolution over time, dilated: a reshaped CONV_2D."""

    def run(tf, x):
        x = tf.nn.relu(tf.nn.conv1d(x, _weights(3, 8, 16), 1, "SAME"))
        x = tf.nn.conv1d(x, _weights(3, 16, 16), 1, "SAME", dilations=2)
        return {"y": tf.reduce_max(x, 1) @ _weights(16, 3)}

    return _convert(run, x=((None, 20, 8), "float32"))


def three_dimensions():
    """A convolution over space and time, which no integer kernel knows."""

    def run(tf, x):
        x = tf.nn.conv3d(x, _weights(3, 3, 3, 2, 6), [1] * 5, "SAME")
        return {"y": tf.reduce_mean(tf.nn.relu(x), [1, 2, 3]) @ _weights(6, 3)}

    return _convert(run, x=((None, 4, 6, 6, 2), "float32"))


def separable_heads():
    """A separable convolution with two heads, of which one is a convolution."""

    def run(tf, x):
        x = tf.nn.separable_conv2d(
            x, _weights(3, 3, 3, 2) * 2, _weights(1, 1, 6, 16), [1, 1, 1, 1], "SAME"
        )
        x = tf.nn.relu(x)
        heat = tf.nn.conv2d(x, _weights(1, 1, 16, 2), 1, "SAME")
        return {"heat": heat, "label": tf.reduce_mean(x, [1, 2]) @ _weights(16, 4)}

    return _convert(run, x=((None, 16, 16, 3), "float32"))


def loop():
    """A table before a loop with a product in its body."""

    def run(tf, tokens):
        x = tf.gather(tf.constant(_weights(40, 16) * 4), tokens)
        kernel = tf.constant(_weights(32, 16))

        def body(step, state):
            state = tf.tanh(tf.concat([x[:, step], state], 1) @ kernel)
            return step + 1, state

        start = (0, tf.zeros((1, 16)))
        _, state = tf.while_loop(lambda step, _: step < 10, body, start)
        return {"y": state @ _weights(16, 4) * 4}

    return _convert(run, tokens=((1, 10), "int32"))


def branches():
    """A choice between two layers."""

    def run(tf, x):
        x = tf.nn.relu(x @ _weights(12, 16))
        y = tf.cond(
            tf.reduce_sum(x) > 0.0,
            lambda: x @ _weights(16, 16),
            lambda: x @ _weights(16, 16, seed=1),
        )
        return {"y": y @ _weights(16, 4)}

    return _convert(run, x=((None, 12), "float32"))


def variables():
    """A running sum in a variable, which CALL_ONCE sets to its start."""
    import tensorflow as tf

    model = tf.Module()
    model.sum = tf.Variable(np.zeros((1, 16), np.float32))

    def run(x):
        y = tf.nn.relu(x @ _weights(12, 16))
        model.sum.assign(tf.zeros((1, 16)) + y * 0.5)
        return {"y": (y + model.sum.read_value()) @ _weights(16, 4)}

    spec = tf.TensorSpec((1, 12), "float32", "x")
    model.run = tf.function(run, input_signature=[spec])
    converter = _converter(model.run, model)
    converter.experimental_enable_resource_variables = True
    return converter.convert()


def custom_operator():
    """An operator that no runtime has without its own library."""

    def rename(model, fb):
        code = next(c for c in model.operatorCodes if c.builtinCode == _code("SIN"))
        code.builtinCode = code.deprecatedBuiltinCode = _code("CUSTOM")
        code.customCode = b"Mystery"

    def run(tf, x):
        return {"y": tf.sin(x @ _weights(12, 16)) @ _weights(16, 4)}

    return _edit(_convert(run, x=((None, 12), "float32")), rename)


def _code(name):
    return getattr(schema().BuiltinOperator, name)


def split_gather():
    """Pieces of a tensor, one of them by an index."""

    def run(tf, x):
        left, right = tf.split(x, 2, 1)
        picked = tf.gather_nd(tf.transpose(right), [[0], [2], [4]])
        y = tf.concat([left @ _weights(6, 8), tf.transpose(picked)], 1)
        return {"y": tf.nn.relu(y) @ _weights(11, 4)}

    return _convert(run, x=((None, 12), "float32"))


def int64_input():
    """Tokens in 64 bits."""

    def run(tf, tokens):
        x = tf.reduce_mean(tf.gather(tf.constant(_weights(40, 16) * 4), tokens), 1)
        return {"y": x @ _weights(16, 4) * 4}

    return _convert(run, tokens=((None, 6), "int64"))


def uint8_input():
    """Pixels as bytes, scaled in the graph."""

    def run(tf, pixels):
        x = tf.cast(pixels, tf.float32) / 127.5 - 1.0
        x = tf.nn.relu(tf.nn.conv2d(x, _weights(3, 3, 3, 8), 2, "SAME"))
        return {"y": tf.reshape(x, [-1, 512]) @ _weights(512, 4)}

    return _convert(run, pixels=((None, 16, 16, 3), "uint8"))


def _optimized(full):
    import tensorflow as tf

    model = tf.Module()
    spec = tf.TensorSpec((1, 16, 16, 3), "float32", "x")
    model.run = tf.function(lambda x: _mobile(tf, x), input_signature=[spec])
    converter = _converter(model.run, model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if full:
        random = np.random.default_rng(0)
        images = random.normal(size=(8, 1, 16, 16, 3)).astype(np.float32)
        converter.representative_dataset = lambda: ([image] for image in images)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = tf.int8
        converter.inference_output_type = tf.int8
    return converter.convert()


def integer_already():
    """The converter's own int8, down to its ends."""
    return _optimized(full=True)


def hybrid_already():
    """The converter's own int8 weights with float activations."""

    def run(tf, x):
        x = tf.nn.relu(x @ _weights(64, 128))
        return {"y": x @ _weights(128, 4)}

    import tensorflow as tf

    model = tf.Module()
    spec = tf.TensorSpec((None, 64), "float32", "x")
    model.run = tf.function(lambda x: run(tf, x), input_signature=[spec])
    converter = _converter(model.run, model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    return converter.convert()


def no_weights():
    """Nothing to quantize."""
    return _convert(
        lambda tf, x: {"y": tf.nn.softmax(x * 2.0 + x)}, x=((None, 5), "float32")
    )


def strings():
    """Labels as strings in the graph, looked up by the best score."""

    def run(tf, x):
        scores = x @ _weights(12, 3)
        labels = tf.constant(["cat", "dog", "bird"])
        return {"scores": scores, "label": tf.gather(labels, tf.argmax(scores, 1))}

    return _convert(run, x=((None, 12), "float32"))


def tied():
    """One buffer for the table and for the last product."""

    def run(tf, tokens):
        table = tf.constant(_weights(40, 16) * 4)
        x = tf.reduce_mean(tf.gather(table, tokens), 1)
        return {"y": tf.matmul(tf.nn.relu(x), table, transpose_b=True)}

    return _convert(run, tokens=((None, 6), "int32"))


def computed_weights():
    """A product whose weights are computed from the input, beside a constant one."""

    def run(tf, x):
        kernel = tf.reshape(tf.reduce_mean(x, 0)[:12, None] * _weights(1, 4), [12, 4])
        return {"y": x @ kernel + x @ _weights(12, 4, seed=1)}

    return _convert(run, x=((6, 12), "float32"))


def batch_product():
    """Products by a constant of three axes."""

    def run(tf, x):
        y = tf.matmul(x, tf.constant(_weights(3, 12, 8)))
        return {"y": tf.reduce_sum(tf.nn.relu(y), [1, 2])[:, None] * 1.0}

    return _convert(run, x=((None, 3, 5, 12), "float32"))


def two_inputs():
    """Two images through one convolution, and a number beside them."""

    def run(tf, left, right, scale):
        kernel = tf.constant(_weights(3, 3, 3, 8))
        sides = [tf.nn.conv2d(x, kernel, 2, "SAME") for x in (left, right)]
        x = tf.reduce_mean(tf.nn.relu(sides[0] - sides[1]), [1, 2]) * scale
        return {"far": x @ _weights(8, 1) * 4, "kind": x @ _weights(8, 3) * 4}

    shape = ((None, 16, 16, 3), "float32")
    return _convert(run, left=shape, right=shape, scale=((None, 1), "float32"))


def two_signatures():
    """Two functions in one file, with a layer in common."""
    import tensorflow as tf

    model = tf.Module()
    model.kernel = tf.Variable(_weights(12, 16))
    spec = tf.TensorSpec((None, 12), "float32", "x")

    def score(x):
        return {"y": tf.nn.relu(x @ model.kernel) @ _weights(16, 4)}

    def embed(x):
        return {"vector": tf.nn.relu(x @ model.kernel)}

    model.score = tf.function(score, input_signature=[spec])
    model.embed = tf.function(embed, input_signature=[spec])
    signatures = {"score": model.score, "embed": model.embed}
    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(model, folder, signatures=signatures)
        return tf.lite.TFLiteConverter.from_saved_model(folder).convert()


def bad_names():
    """Tensors without a name, with the same name, or one that is no UTF-8."""

    def rename(model, _):
        graph = model.subgraphs[0]
        ends = {*graph.inputs.tolist(), *graph.outputs.tolist()}
        inner = [t for i, t in enumerate(graph.tensors) if i not in ends]
        names = (b"", b"a", b"a", b"\xff\xfe", None)
        for place, tensor in enumerate(inner):
            tensor.name = names[place % len(names)]

    return _edit(mobile(), rename)


def old_codes():
    """Operators by the schema's first field alone, as converters of 2019 wrote it."""

    def forget(model, _):
        for code in model.operatorCodes:
            code.deprecatedBuiltinCode, code.builtinCode = (
                max(code.builtinCode, code.deprecatedBuiltinCode),
                0,
            )

    return _edit(mobile_without_signature(), forget)


def _recurrent(make):
    """Converts a layer of tf_keras, which the converter may write as one operator."""
    import tensorflow as tf
    import tf_keras

    tf_keras.utils.set_random_seed(0)
    inputs = tf_keras.Input((10, 8), batch_size=1, name="x")
    y = tf_keras.layers.Dense(4, name="y")(make(tf_keras.layers)(inputs))
    model = tf_keras.Model(inputs, y)
    spec = tf.TensorSpec((1, 10, 8), "float32", "x")
    run = tf.function(lambda x: {"y": model(x)}, input_signature=[spec])
    return _converter(run, model).convert()


def fused_lstm():
    """UNIDIRECTIONAL_SEQUENCE_LSTM."""
    return _recurrent(lambda layers: layers.LSTM(16))


def gru():
    """A GRU, which is a loop."""
    return _recurrent(lambda layers: layers.GRU(16))


def embedding_lookup():
    """Rows by EMBEDDING_LOOKUP, as PyTorch's converter writes them."""

    def rename(model, fb):
        code = next(c for c in model.operatorCodes if c.builtinCode == _code("GATHER"))
        code.builtinCode = code.deprecatedBuiltinCode = _code("EMBEDDING_LOOKUP")
        for operator in model.subgraphs[0].operators:
            if model.operatorCodes[operator.opcodeIndex] is code:
                operator.inputs = operator.inputs[::-1].copy()
                operator.builtinOptionsType, operator.builtinOptions = 0, None

    def run(tf, tokens):
        x = tf.gather(tf.constant(_weights(40, 16) * 4), tokens)
        return {"y": x @ _weights(16, 4) * 4}

    return _edit(_convert(run, tokens=((None,), "int32")), rename)


MOBILES = (
    *("mobile_float16", "mobile_without_signature", "mobile_with_metadata"),
    *("bad_names", "old_codes", "mobile"),
)
VECTOR = ((12,), "float32", None)
TOKENS = ((6,), "int32", 40)

GRAPHS = {
    "mobile": Graph(mobile, {"x": IMAGE}),
    "mobile_float16": Graph(mobile_float16, {"x": IMAGE}),
    "mobile_without_signature": Graph(mobile_without_signature, {"x": IMAGE}),
    "mobile_with_metadata": Graph(mobile_with_metadata, {"x": IMAGE}),
    "any_size": Graph(any_size, {"x": ((10, 12, 3), "float32", None)}),
    "convolutions": Graph(convolutions, {"x": IMAGE}),
    "residual": Graph(residual, {"x": IMAGE}),
    "image_codec": Graph(image_codec, {"x": IMAGE}),
    "squeeze_excite": Graph(squeeze_excite, {"x": IMAGE}),
    "outputs_between": Graph(outputs_between, {"x": IMAGE}),
    "one_dimension": Graph(one_dimension, {"x": ((20, 8), "float32", None)}),
    "three_dimensions": Graph(three_dimensions, {"x": ((4, 6, 6, 2), "float32", None)}),
    "separable_heads": Graph(separable_heads, {"x": IMAGE}),
    "loop": Graph(loop, {"tokens": ((10,), "int32", 40)}, batch=1),
    "branches": Graph(branches, {"x": VECTOR}),
    "variables": Graph(variables, {"x": VECTOR}, batch=1),
    "custom_operator": Graph(custom_operator, {"x": VECTOR}, is_runnable=False),
    "split_gather": Graph(split_gather, {"x": VECTOR}),
    "int64_input": Graph(int64_input, {"tokens": ((6,), "int64", 40)}),
    "uint8_input": Graph(uint8_input, {"pixels": ((16, 16, 3), "uint8", 256)}),
    "integer_already": Graph(integer_already, {"x": IMAGE}, batch=1),
    "hybrid_already": Graph(hybrid_already, {"x": ((64,), "float32", None)}),
    "no_weights": Graph(no_weights, {"x": ((5,), "float32", None)}),
    "strings": Graph(strings, {"x": VECTOR}),
    "tied": Graph(tied, {"tokens": TOKENS}),
    "computed_weights": Graph(computed_weights, {"x": VECTOR}, batch=6),
    "batch_product": Graph(batch_product, {"x": ((3, 5, 12), "float32", None)}),
    "two_inputs": Graph(
        two_inputs, {"left": IMAGE, "right": IMAGE, "scale": ((1,), "float32", None)}
    ),
    "two_signatures": Graph(two_signatures, {"x": VECTOR}),
    "bad_names": Graph(bad_names, {"x": IMAGE}),
    "old_codes": Graph(old_codes, {"x": IMAGE}),
    "fused_lstm": Graph(fused_lstm, {"x": ((10, 8), "float32", None)}, batch=1),
    "embedding_lookup": Graph(embedding_lookup, {"tokens": ((), "int32", 40)}),
    "gru": Graph(gru, {"x": ((10, 8), "float32", None)}, batch=1),
}
