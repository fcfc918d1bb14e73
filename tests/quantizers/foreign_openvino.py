"""Small IRs of operators that other people's models hold, and inputs for them."""

import numpy as np

# Values of a codebook on one grid, as clusters and quantization-aware training leave.
STEP = 2.0**-6
CODEBOOK = STEP * np.float32(
    [-127, -90, -71, -55, -43, -30, -18, -7, 0, 6, 17, 29, 44, 61, 83, 127]
)


def clustered(*shape, seed=0):
    """Makes weights of 16 values on one grid, of about unit gain."""
    random = np.random.default_rng([seed, *shape])
    weights = random.choice(CODEBOOK, shape, p=_CHANCES)
    weights.flat[:2] = CODEBOOK[-1], CODEBOOK[0]
    fan_in = weights.size / max(shape[:2])
    # A power of two: it keeps the grid exact.
    return np.float32(
        weights * 2.0 ** np.round(np.log2(1.4 / fan_in**0.5 / weights.std()))
    )


_CHANCES = np.exp(-((CODEBOOK / CODEBOOK[-1]) ** 2) * 4)
_CHANCES /= _CHANCES.sum()


def _save(results, parameters, path):
    import openvino

    for name, node in {**parameters, **results}.items():
        node.output(0).set_names({name})
    model = openvino.Model(list(results.values()), list(parameters.values()), "small")
    openvino.save_model(model, path, compress_to_fp16=False)
    return path


def convolutions(path, make=clustered):
    """A stem, 1x1, grouped, depthwise, strided, transposed convolutions, a product."""
    from openvino import opset13 as ops

    x = ops.parameter([-1, 3, 16, 16], np.float32, name="x")

    def convolve(y, kernel, strides=(1, 1), pads=1, operator="convolution"):
        weights = ops.constant(kernel, name=f"weights_{convolve.count}")
        convolve.count += 1
        ends = [pads, pads]
        options = {"name": f"layer_{convolve.count}"}
        y = getattr(ops, operator)(
            y, weights, list(strides), ends, ends, [1, 1], **options
        )
        return ops.relu(y)

    convolve.count = 0
    y = convolve(x, make(16, 3, 3, 3), (2, 2))
    y = convolve(y, make(32, 16, 1, 1), pads=0)
    y = convolve(y, make(4, 8, 8, 3, 3), operator="group_convolution")
    y = convolve(y, make(32, 1, 1, 3, 3), (2, 2), operator="group_convolution")
    y = convolve(y, make(32, 16, 1, 1, seed=1).transpose(1, 0, 2, 3).copy(), pads=0)
    weights = ops.constant(make(16, 8, 2, 2), name="weights_back")
    y = ops.relu(
        ops.convolution_backprop_data(
            y, weights, [2, 2], pads_begin=[0, 0], pads_end=[0, 0], dilations=[1, 1]
        )
    )
    weights = ops.constant(make(2, 4, 4, 2, 2), name="weights_groups_back")
    y = ops.relu(
        ops.group_convolution_backprop_data(
            y, weights, [2, 2], pads_begin=[0, 0], pads_end=[0, 0], dilations=[1, 1]
        )
    )
    y = ops.reduce_mean(y, np.int64([2, 3]))
    y = ops.matmul(y, ops.constant(make(8, 4), name="weights_dense"), False, False)
    return _save({"y": y}, {"x": x}, path)


def dense_blocks(path):
    """Results that are concatenated to all that is behind, of ranges far apart."""
    from openvino import opset13 as ops

    x = ops.parameter([-1, 3, 16, 16], np.float32, name="x")
    parts = [x]
    for index, scale in enumerate((1, 4, 0.5)):
        y = ops.concat(parts, 1) if index else x
        kernel = clustered(8, 3 + 8 * index, 3, 3, seed=index) * np.float32(scale)
        y = ops.convolution(y, ops.constant(kernel), [1, 1], [1, 1], [1, 1], [1, 1])
        parts.append(ops.relu(y))
    y = ops.reduce_mean(ops.concat(parts, 1), np.int64([2, 3]))
    y = ops.matmul(y, ops.constant(_normal(4, 27)), False, True)
    return _save({"y": y}, {"x": x}, path)


def recurrent(path):
    """LSTM and GRU as one operator each, both ways, and a product in a loop's place."""
    from openvino import opset13 as ops

    x = ops.parameter([-1, 10, 8], np.float32, name="x")
    batch = ops.gather(ops.shape_of(x), ops.constant([0]), ops.constant(0))

    def zeros(*shape):
        sizes = ops.concat([batch, ops.constant(np.int64(shape))], 0)
        return ops.broadcast(ops.constant(np.float32(0)), sizes)

    lengths = ops.broadcast(ops.constant(np.int64(10)), batch)
    y = ops.lstm_sequence(
        x,
        zeros(2, 16),
        zeros(2, 16),
        lengths,
        ops.constant(clustered(2, 64, 8) / 4),
        ops.constant(clustered(2, 64, 16) / 4),
        ops.constant(np.zeros((2, 64), np.float32)),
        16,
        "bidirectional",
    ).output(0)  # batch, direction, step, unit
    y = ops.reshape(
        ops.transpose(y, np.int64([0, 2, 1, 3])), np.int64([-1, 10, 32]), False
    )
    y = ops.gru_sequence(
        y,
        zeros(1, 16),
        lengths,
        ops.constant(_normal(1, 48, 32)),
        ops.constant(_normal(1, 48, 16)),
        ops.constant(np.zeros((1, 48), np.float32)),
        16,
        "forward",
    ).output(1)
    y = ops.matmul(
        ops.squeeze(y, np.int64([1])), ops.constant(_normal(4, 16)), False, True
    )
    return _save({"y": y}, {"x": x}, path)


def branches(path):
    """A choice between two products."""
    import openvino
    import tensorflow as tf

    first, then, other = _normal(12, 16), _normal(16, 4), _normal(16, 4, seed=1)

    def run(x):
        total = tf.reduce_sum(x)
        x = tf.nn.relu(x @ first)
        return {"y": tf.cond(total > 0.0, lambda: x @ then, lambda: x @ other)}

    module = tf.Module()
    spec = tf.TensorSpec((None, 12), "float32", "x")
    module.run = tf.function(run, input_signature=[spec])
    model = openvino.convert_model(module.run)
    model.inputs[0].set_names({"x"})
    model.outputs[0].set_names({"y"})
    openvino.save_model(model, path, compress_to_fp16=False)
    return path


def no_weights(path):
    """Nothing to quantize."""
    from openvino import opset13 as ops

    x = ops.parameter([-1, 5], np.float32, name="x")
    return _save({"y": ops.softmax(ops.multiply(x, np.float32(2)), 1)}, {"x": x}, path)


def halves(path):
    """Convolutions with float16 weights, as OpenVINO's own converter saves them."""
    import openvino

    convolutions(path)
    model = openvino.Core().read_model(path)
    other = path.with_name("halves_" + path.name)
    openvino.save_model(model, other, compress_to_fp16=True)
    return other


def _normal(*shape, seed=0):
    random = np.random.default_rng([seed, *shape])
    return random.normal(0, shape[-1] ** -0.5, shape).astype(np.float32)


IMAGE = ((3, 16, 16), np.float32)
GRAPHS = {
    "convolutions": (convolutions, IMAGE),
    "halves": (halves, IMAGE),
    "dense_blocks": (dense_blocks, IMAGE),
    "recurrent": (recurrent, ((10, 8), np.float32)),
    "branches": (branches, ((12,), np.float32)),
    "no_weights": (no_weights, ((5,), np.float32)),
}
