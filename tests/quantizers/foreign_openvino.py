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
