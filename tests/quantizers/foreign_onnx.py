"""ONNX graphs as other people's exporters write them: small, and each with one trait.

Each function returns a ModelProto and the number of values of its inputs' integers, for
those that look something up.
"""

import numpy as np
from onnx import TensorProto, helper, numpy_helper

FLOAT, INT64, FLOAT16 = TensorProto.FLOAT, TensorProto.INT64, TensorProto.FLOAT16
_WORDS = 40


def array(*shape, seed=0, scale=0.3):
    """Returns random float32 weights."""
    return np.random.default_rng(seed).normal(0, scale, shape).astype(np.float32)


def model(nodes, inputs, outputs, constants, *, opset=17, ir=8, **others):
    """Makes a model; inputs and outputs are name -> (type, shape)."""
    graph = helper.make_graph(
        nodes,
        "foreign",
        [helper.make_tensor_value_info(n, *spec) for n, spec in inputs.items()],
        [helper.make_tensor_value_info(n, *spec) for n, spec in outputs.items()],
        [numpy_helper.from_array(np.asarray(a), n) for n, a in constants.items()],
    )
    imports = [helper.make_opsetid("", opset)]
    imports += [helper.make_opsetid(n, 1) for n in others.pop("domains", ())]
    return helper.make_model(graph, opset_imports=imports, ir_version=ir, **others)


def node(op_type, inputs, outputs, **attributes):
    """Makes a node; names are separated by spaces, "-" stands for one left out."""
    names = [
        ["" if name == "-" else name for name in text.split()]
        for text in (inputs, outputs)
    ]
    return helper.make_node(op_type, *names, **attributes)


X = {"x": (FLOAT, ["n", 32])}
IMAGE = {"x": (FLOAT, ["n", 8, 12, 12])}
IDS = {"ids": (INT64, ["n", 6])}


def Y(*shape, name="y", kind=FLOAT):
    """Returns the description of one output."""
    return {name: (kind, list(shape))}


def constant_nodes():
    """PyTorch's older exporter: weights are Constant nodes, Gemm transposes them."""
    nodes = [
        helper.make_node(
            "Constant", [], ["w"], value=numpy_helper.from_array(array(24, 32))
        ),
        helper.make_node(
            "Constant", [], ["b"], value=numpy_helper.from_array(array(24))
        ),
        node("Gemm", "x w b", "h", transB=1, name="/fc1/Gemm"),
        node("Relu", "h", "r"),
        node("MatMul", "r v", "y", name="/fc2/MatMul"),
    ]
    return model(nodes, X, Y("n", 10), {"v": array(24, 10, seed=1)})


def identity_shared():
    """PyTorch's exporter shares a weight by Identity."""
    nodes = [
        node("Identity", "w", "w2"),
        node("Gemm", "x w b", "h", transB=1),
        node("Tanh", "h", "t"),
        node("Gemm", "t w2 b", "y", transB=1),
    ]
    return model(nodes, X, Y("n", 32), {"w": array(32, 32), "b": array(32, seed=1)})


def tied_by_transpose():
    """A language model: one weight for the table and the head (onnxruntime #21277)."""
    nodes = [
        node("Gather", "w ids", "h"),
        node("Transpose", "w", "wt", perm=[1, 0]),
        node("MatMul", "h wt", "y"),
    ]
    return model(nodes, IDS, Y("n", 6, _WORDS), {"w": array(_WORDS, 32)})


def tied_by_gemm():
    """The same, the head a Gemm."""
    nodes = [
        node("Gather", "w ids", "h"),
        node("ReduceMean", "h", "m", axes=[1], keepdims=0),
        node("Gemm", "m w b", "y", transB=1),
    ]
    constants = {"w": array(_WORDS, 20), "b": array(_WORDS, seed=1)}
    return model(nodes, IDS, Y("n", _WORDS), constants)


def used_twice():
    """One weight in two products, one of them with its transpose (an autoencoder)."""
    nodes = [
        node("MatMul", "x w", "h"),
        node("Relu", "h", "r"),
        node("Transpose", "w", "wt", perm=[1, 0]),
        node("MatMul", "r wt", "y"),
    ]
    return model(nodes, X, Y("n", 32), {"w": array(32, 24)})


def names_that_collide():
    """Names that a quantizer likes to give: fastT5 #17, onnxruntime #3563."""
    nodes = [
        node("MatMul", "x w", "x_quantized", name="x/DynamicQuantizeLinear"),
        node("Relu", "x_quantized", "w_scale", name="w_int8"),
        node("MatMul", "w_scale v", "w_zero_point", name="x_scale"),
        node("Add", "w_zero_point b", "y_scaled"),
        node("MatMul", "x w", "x_rounded"),
        node("Concat", "y_scaled x_rounded", "y", axis=1),
    ]
    constants = {"w": array(32, 24), "v": array(24, 16), "b": array(16)}
    return model(nodes, X, Y("n", 40), constants)


def nodes_without_names():
    """Nodes have no names, and two layers share an input (onnxruntime #14142)."""
    nodes = [
        node("MatMul", "x q", "a"),
        node("MatMul", "x k", "b"),
        node("Mul", "a b", "c"),
        node("MatMul", "x v", "d"),
        node("Add", "c d", "y"),
    ]
    constants = {name: array(32, 16, seed=i) for i, name in enumerate("qkv")}
    return model(nodes, X, Y("n", 16), constants)


def half_weights_cast():
    """Weights are stored as float16 and cast (onnxruntime #13358)."""
    nodes = [
        node("Cast", "w16", "w", to=FLOAT),
        node("Cast", "b16", "b", to=FLOAT),
        node("Conv", "x w b", "c", pads=[1, 1, 1, 1]),
        node("GlobalAveragePool", "c", "p"),
        node("Flatten", "p", "y"),
    ]
    constants = {"w16": array(16, 8, 3, 3), "b16": array(16)}
    constants = {name: a.astype(np.float16) for name, a in constants.items()}
    return model(nodes, IMAGE, Y("n", 16), constants)


def half_throughout():
    """A model that computes in float16."""
    nodes = [
        node("Gather", "t ids", "h"),
        node("MatMul", "h w", "m"),
        node("Cast", "m", "y", to=FLOAT),
    ]
    constants = {"t": array(_WORDS, 16), "w": array(16, 24)}
    constants = {name: a.astype(np.float16) for name, a in constants.items()}
    return model(nodes, IDS, Y("n", 6, 24), constants)


def convolutions():
    """A small MobileNet: stem, BatchNormalization, depthwise, 1x1, grouped, Clip."""
    nodes = [
        node("Conv", "x w1", "a", pads=[1, 1, 1, 1], name="stem/Conv"),
        node("BatchNormalization", "a g b m v", "an"),
        node("Clip", "an zero six", "ac"),
        node("Conv", "ac w2 b2", "d", group=16, pads=[1, 1, 1, 1], strides=[2, 2]),
        node("Relu", "d", "dr"),
        node("Conv", "dr w3 b3", "e"),
        node("Conv", "e w4", "f", group=4, auto_pad="SAME_UPPER"),
        node("Add", "e f", "s"),
        node("Relu", "s", "sr"),
        node("MaxPool", "sr", "p", kernel_shape=[2, 2], strides=[2, 2]),
        node("Conv", "p w5 b3", "q", dilations=[1, 1]),
        node("Sigmoid", "q", "qs"),
        node("GlobalAveragePool", "qs", "gp"),
        node("Flatten", "gp", "flat"),
        node("Gemm", "flat w6 b6", "y", transB=1),
    ]
    constants = {
        "w1": array(16, 8, 3, 3),
        "g": np.abs(array(16, seed=7)) + np.float32(0.5),
        "b": array(16, seed=8),
        "m": array(16, seed=9),
        "v": np.abs(array(16, seed=10)) + np.float32(0.5),
        "zero": np.float32(0),
        "six": np.float32(6),
        "w2": array(16, 1, 3, 3, seed=2),
        "b2": array(16, seed=3),
        "w3": array(24, 16, 1, 1, seed=4),
        "b3": array(24, seed=5),
        "w4": array(24, 6, 3, 3, seed=6),
        "w5": array(24, 24, 1, 1, seed=11),
        "w6": array(10, 24, seed=12, scale=1),
        "b6": array(10, seed=13),
    }
    return model(nodes, IMAGE, Y("n", 10), constants)


def transposed_convolution():
    """Upsampling by ConvTranspose, with groups (onnxruntime #19694)."""
    nodes = [
        node("Conv", "x w1 b1", "c", strides=[2, 2]),
        node("Relu", "c", "r"),
        node("ConvTranspose", "r w2 b2", "t", strides=[2, 2], group=2),
        node("ConvTranspose", "t w3", "y", strides=[1, 1]),
    ]
    constants = {"w1": array(16, 8, 2, 2), "b1": array(16), "w2": array(16, 6, 2, 2)}
    constants |= {"b2": array(12), "w3": array(12, 5, 3, 3)}
    return model(nodes, IMAGE, Y("n", 5, "h", "w"), constants)


def convolution_1d():
    """Speech: lookups, Transpose, Conv1D and ConvTranspose1D."""
    nodes = [
        node("Gather", "t ids", "e"),
        node("Transpose", "e", "c", perm=[0, 2, 1]),
        node("Conv", "c w b", "d", pads=[1, 1]),
        node("LeakyRelu", "d", "l", alpha=0.1),
        node("ConvTranspose", "l v", "y"),
    ]
    constants = {"t": array(_WORDS, 16), "w": array(24, 16, 3), "b": array(24)}
    constants["v"] = array(24, 8, 3)
    return model(nodes, IDS, Y("n", 8, "m"), constants)


def convolution_3d():
    """Volumes."""
    inputs = {"x": (FLOAT, ["n", 4, 6, 6, 6])}
    nodes = [node("Conv", "x w b", "c"), node("Relu", "c", "y")]
    constants = {"w": array(8, 4, 3, 3, 3), "b": array(8)}
    return model(nodes, inputs, Y("n", 8, 4, 4, 4), constants)


def tiny_weights_large_bias():
    """A bias does not fit into 32 bits of the weights' steps (onnxruntime #22020)."""
    w = array(6, 8, 3, 3)
    w[:2] *= np.float32(1e-9)
    w[2] = 0
    nodes = [node("Conv", "x w b", "c"), node("Flatten", "c", "f")]
    nodes.append(node("Gemm", "f v b2", "y"))
    v = array(600, 8, seed=2)
    v[:, 0] = 0
    constants = {"w": w, "b": np.float32([5, -4.5, 0.3, 1, 0, -1]), "v": v}
    constants["b2"] = np.float32([2, 0, 0, 1, 0, 0, 0, 0])
    return model(nodes, IMAGE, Y("n", 8), constants)


def large_weights():
    """Weights at the ends of their range meet large inputs (onnxruntime #9365)."""
    w = np.random.default_rng(0).choice(np.float32([-1, 1]), (32, 64))
    w[:, ::2] = np.abs(w[:, ::2])
    nodes = [node("Abs", "x", "a"), node("MatMul", "a w", "h"), node("Relu", "h", "r")]
    nodes.append(node("MatMul", "r v", "y"))
    v = np.random.default_rng(1).choice(np.float32([-1, 0, 1]), (64, 16))
    return model(nodes, X, Y("n", 16), {"w": w, "v": v})


def convolution_of_unknown_bias():
    """A Conv whose bias the model computes."""
    nodes = [
        node("ReduceMean", "x", "m", axes=[0, 1, 2, 3], keepdims=0),
        node("Mul", "m b", "mb"),
        node("Conv", "x w mb", "c"),
        node("Relu", "c", "y"),
    ]
    return model(
        nodes, IMAGE, Y("n", 8, 10, 10), {"w": array(8, 8, 3, 3), "b": array(8)}
    )


def _loop(body_nodes, body_constants, state):
    """Makes the body of a Loop of one state."""
    values = helper.make_tensor_value_info
    return helper.make_graph(
        [node("Identity", "going", "still"), *body_nodes],
        "body",
        [
            values("i", INT64, []),
            values("going", TensorProto.BOOL, []),
            values("s", FLOAT, state),
        ],
        [values("still", TensorProto.BOOL, []), values("out", FLOAT, state)],
        [numpy_helper.from_array(a, n) for n, a in body_constants.items()],
    )


def loop():
    """A Loop with weights of its own, and one that stands outside for it alone
    (onnxruntime #18681); an inner name is that of another weight outside."""
    body = [
        node("MatMul", "s outer", "p"),
        node("Gemm", "p inner b", "g", transB=1),
        node("Tanh", "g", "out"),
    ]
    inner = {"inner": array(32, 32, seed=1, scale=0.2), "b": array(32, seed=2)}
    nodes = [
        helper.make_node(
            "Loop", ["times", "", "x"], ["z"], body=_loop(body, inner, None)
        ),
        node("MatMul", "z w", "y"),
    ]
    constants = {"outer": array(32, 32, scale=0.2), "times": np.int64(3)}
    constants["w"] = array(32, 8, seed=3)
    return model(nodes, X, Y("n", 8), constants)


def table_in_a_loop():
    """A decoder: a table that is looked up in a Loop, and a GRU and an LSTM."""
    body = [
        node("Gather", "table ids", "e"),
        node("ReduceMean", "e", "m", axes=[1], keepdims=0),
        node("Add", "s m", "out"),
    ]
    nodes = [
        node("Gather", "table ids", "rows"),
        node("Transpose", "rows", "time", perm=[1, 0, 2]),
        node("GRU", "time wg rg bg", "gru", hidden_size=16),
        node("Squeeze", "gru axis", "gs"),
        node("LSTM", "gs wl rl", "lstm last cell", hidden_size=16),
        node("Squeeze", "last zero", "ls"),
        helper.make_node(
            "Loop", ["times", "", "ls"], ["y"], body=_loop(body, {}, None)
        ),
    ]
    constants = {"table": array(_WORDS, 16), "times": np.int64(2)}
    constants |= {"wg": array(1, 48, 16), "rg": array(1, 48, 16, seed=1)}
    constants |= {"bg": array(1, 96), "axis": np.int64([1]), "zero": np.int64([0])}
    constants |= {"wl": array(1, 64, 16, seed=2), "rl": array(1, 64, 16, seed=3)}
    return model(nodes, IDS, Y("n", 16), constants)


def scan():
    """A Scan over time whose weights stand outside (onnxruntime #7300)."""
    values = helper.make_tensor_value_info
    body = helper.make_graph(
        [
            node("MatMul", "e k", "a"),
            node("MatMul", "h r", "c"),
            node("Add", "a c", "ac"),
            node("Tanh", "ac", "next"),
            node("Identity", "next", "seen"),
        ],
        "step",
        [values("h", FLOAT, ["n", 16]), values("e", FLOAT, ["n", 16])],
        [values("next", FLOAT, ["n", 16]), values("seen", FLOAT, ["n", 16])],
    )
    nodes = [
        node("Gather", "table ids", "rows"),
        node("Transpose", "rows", "time", perm=[1, 0, 2]),
        node("ReduceMean", "rows", "start", axes=[1], keepdims=0),
        helper.make_node(
            "Scan", ["start", "time"], ["final", "all"], body=body, num_scan_inputs=1
        ),
        node("MatMul", "final w", "y"),
    ]
    constants = {
        "table": array(_WORDS, 16),
        "k": array(16, 16),
        "r": array(16, 16, seed=1),
    }
    constants["w"] = array(16, 8, seed=2)
    return model(nodes, IDS, Y("n", 8), constants)


def branches():
    """An If whose branches give one name to different weights."""
    values = helper.make_tensor_value_info

    def branch(name, seed):
        return helper.make_graph(
            [node("Gather", "table ids", "e"), node("MatMul", "e w", f"{name}_y")],
            name,
            [],
            [values(f"{name}_y", FLOAT, None)],
            [numpy_helper.from_array(array(16, 24, seed=seed), "w")],
        )

    nodes = [
        node("ReduceSum", "ids", "sum", keepdims=0),
        node("Mod", "sum two", "odd"),
        node("Cast", "odd", "is_odd", to=TensorProto.BOOL),
        helper.make_node(
            "If",
            ["is_odd"],
            ["y"],
            then_branch=branch("then", 1),
            else_branch=branch("other", 2),
        ),
    ]
    constants = {"table": array(_WORDS, 16), "two": np.int64(2)}
    return model(nodes, IDS, Y("n", 6, 24), constants)


def functions():
    """PyTorch's newer exporter: layers are functions of the model's own."""
    imports = [helper.make_opsetid("", 18)]
    linear = helper.make_function(
        "pkg",
        "linear",
        ["x", "w", "b"],
        ["y"],
        [
            node("Transpose", "w", "t", perm=[1, 0]),
            node("MatMul", "x t", "m"),
            node("Add", "m b", "y"),
        ],
        imports,
    )
    nodes = [
        node("linear", "x w1 b1", "h", domain="pkg"),
        node("Relu", "h", "r"),
        node("linear", "r w2 b2", "y", domain="pkg"),
    ]
    constants = {"w1": array(24, 32), "b1": array(24)}
    constants |= {"w2": array(10, 24), "b2": array(10)}
    return model(
        nodes, X, Y("n", 10), constants, opset=18, domains=["pkg"], functions=[linear]
    )


def sizes_that_depend_on_data():
    """NonZero and a sequence beside products."""
    nodes = [
        node("MatMul", "x w", "h"),
        node("Relu", "h", "r"),
        node("NonZero", "r", "places"),
        node("GatherND", "r pairs", "kept"),
        node("Transpose", "places", "pairs", perm=[1, 0]),
        node("SequenceConstruct", "h r", "both"),
        node("ConcatFromSequence", "both", "joined", axis=1),
        node("MatMul", "joined v", "y"),
        node("ReduceSum", "kept", "z", keepdims=0),
    ]
    nodes[3], nodes[4] = nodes[4], nodes[3]
    constants = {"w": array(32, 16), "v": array(32, 8)}
    return model(nodes, X, {**Y("n", 8), **Y(name="z")}, constants)


def attention():
    """Attention: products of activations, Einsum, a Gemm that scales, weights to the
    left."""
    nodes = [
        node("Gather", "table ids", "e"),
        node("MatMul", "e q", "qs"),
        node("MatMul", "e k", "ks"),
        node("Transpose", "ks", "kt", perm=[0, 2, 1]),
        node("MatMul", "qs kt", "scores"),
        node("Softmax", "scores", "p", axis=-1),
        node("MatMul", "p e", "mixed"),
        node("MatMul", "left mixed", "l"),
        node("Einsum", "l kernel", "heads", equation="nab,bhc->nahc"),
        node("ReduceMean", "heads", "mean", axes=[1, 2], keepdims=0),
        node("Gemm", "mean g c", "y", alpha=0.5, beta=2.0),
    ]
    constants = {"table": array(_WORDS, 16, scale=1), "left": array(12, 6)}
    constants |= {"q": array(16, 16), "k": array(16, 16), "kernel": array(16, 2, 8)}
    constants |= {"g": array(8, 20), "c": array(20)}
    return model(nodes, IDS, Y("n", 20), constants)


def vector_and_matrices():
    """Products of a vector, and of a stack of matrices by a stack of weights."""
    nodes = [
        node("ReduceMean", "x", "v", axes=[0], keepdims=0),
        node("MatMul", "v w", "a"),
        node("Reshape", "x shape", "stack"),
        node("MatMul", "stack many", "b"),
        node("ReduceSum", "b axes", "c", keepdims=0),
        node("Add", "c a", "y"),
    ]
    constants = {"w": array(32, 8), "shape": np.int64([-1, 4, 1, 8])}
    constants |= {"many": array(4, 8, 8, seed=1), "axes": np.int64([1, 2])}
    return model(nodes, X, Y("n", 8), constants)


def old_initializers():
    """IR version 3: each initializer is a graph input too."""
    made = model(
        [node("Gather", "t ids", "e"), node("Conv", "e w", "y", pads=[1, 1])],
        IDS,
        Y("n", 8, 16),
        {"t": array(_WORDS, 16), "w": array(8, 6, 3)},
        opset=13,
        ir=3,
    )
    for tensor in made.graph.initializer:
        value = helper.make_tensor_value_info(tensor.name, FLOAT, tensor.dims)
        made.graph.input.append(value)
    return made


def zero_weights():
    """Weights, and activations on all examples, are zero."""
    nodes = [
        node("MatMul", "x w", "h"),
        node("MatMul", "h v", "z"),
        node("MatMul", "x u", "a"),
        node("Add", "z a", "y"),
    ]
    constants = {
        "w": np.zeros((32, 16), np.float32),
        "v": array(16, 8),
        "u": array(32, 8),
    }
    return model(nodes, X, Y("n", 8), constants)


def batch_of_one():
    """A model whose batch is fixed at 1."""
    inputs = {"x": (FLOAT, [1, 8, 12, 12])}
    nodes = [node("Conv", "x w b", "c"), node("Relu", "c", "y")]
    return model(
        nodes, inputs, Y(1, 8, 10, 10), {"w": array(8, 8, 3, 3), "b": array(8)}
    )


def output_is_an_activation_between():
    """Values that are rounded are outputs of the model as well."""
    nodes = [
        node("Conv", "x w b", "c"),
        node("Relu", "c", "r"),
        node("Flatten", "r", "f"),
        node("MatMul", "f v", "y"),
    ]
    constants = {"w": array(4, 8, 3, 3), "b": array(4), "v": array(400, 8)}
    outputs = Y("n", 8) | Y("n", 4, 10, 10, name="c") | Y("n", 4, 10, 10, name="r")
    return model(nodes, IMAGE, outputs, constants)


RIGHT = (
    *(constant_nodes, identity_shared, tied_by_transpose, tied_by_gemm, used_twice),
    *(names_that_collide, nodes_without_names, half_weights_cast, half_throughout),
    *(convolutions, transposed_convolution, convolution_1d, convolution_3d),
    *(tiny_weights_large_bias, large_weights, convolution_of_unknown_bias, loop),
    *(table_in_a_loop, scan, branches, functions, sizes_that_depend_on_data),
    *(attention, vector_and_matrices, old_initializers, zero_weights, batch_of_one),
    output_is_an_activation_between,
)
"""Functions that make graphs whose quantized files have to be right."""
