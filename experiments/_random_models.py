"""Random Keras models: every layer that the bridge has a rule for, joined by a seed.

A model has one or two inputs (texts, series, images, numbers), a chain of random layers
behind each, and one or two outputs with or without an activation at the end. The same
seed gives the same model and the same examples.
"""

import dataclasses

import numpy as np

_ACTIVATIONS = (
    *("elu", "exponential", "gelu", "hard_sigmoid", "hard_silu", "leaky_relu"),
    *("linear", "log_softmax", "mish", "relu", "relu6", "selu", "sigmoid", "silu"),
    *("softmax", "softplus", "softsign", "tanh"),
)
_HEADS = ("linear", "linear", "softmax", "sigmoid")
_NUM_WORDS = 200
_NUM_LAYERS = 6  # of a chain, at most


@dataclasses.dataclass(frozen=True, eq=False)
class RandomModel:
    """A model and examples for it.

    Attributes:
        model: Keras 3 model.
        examples: function of a number and a seed that returns a dict of input name ->
            array with so many examples.
        has_loops: whether it has recurrent layers.
    """

    model: object
    examples: object
    has_loops: bool


def make_random_model(seed):
    """Makes the model of a seed; see `RandomModel`."""
    import keras

    rng = np.random.default_rng(seed)
    kinds = list(rng.permutation(list(_INPUTS)))[: 1 + int(rng.random() < 0.3)]
    inputs, vectors, loops = [], [], []
    for index, kind in enumerate(kinds):
        make, chain, _ = _INPUTS[kind]
        inputs.append(make(f"{kind}_{index}"))
        x = inputs[-1]
        for _ in range(int(rng.integers(2, _NUM_LAYERS + 1))):
            layer = chain[int(rng.integers(len(chain)))]
            loops.append(layer in (_lstm, _gru, _rnn, _bidirectional))
            x = layer(x, rng)
        vectors.append(_to_vector(x, rng))
    joined = vectors[0]
    if len(vectors) > 1:
        joined = keras.layers.Concatenate()(vectors)
    num_heads = 1 + int(rng.random() < 0.25)
    outputs = [_head(joined, f"output_{index}", rng) for index in range(num_heads)]
    model = keras.Model(inputs, outputs, name=f"random_{seed}")
    _fill(model, rng)

    def examples(count, seed):
        draw = np.random.default_rng(seed)
        return {
            tensor.name: _INPUTS[kind][2]((count, *tensor.shape[1:]), draw)
            for tensor, kind in zip(inputs, kinds, strict=True)
        }

    return RandomModel(model, examples, any(loops))


def _fill(model, rng):
    """Gives every weight a value that keeps activations near their size."""
    for variable in model.variables:
        shape = tuple(variable.shape)
        if "int" in str(variable.dtype):
            continue
        if len(shape) > 1:
            fan_in = np.prod(shape[:-1]) if "embeddings" not in variable.path else 1
            values = rng.normal(0, 1 / np.sqrt(min(fan_in, 64)), shape)
        elif variable.path.endswith(("gamma", "moving_variance")):
            values = rng.uniform(0.5, 1.5, shape)
        else:
            values = rng.normal(0, 0.1, shape)
        variable.assign(values.astype(np.float32))


def _layer(kind, x, **config):
    import keras

    return getattr(keras.layers, kind)(**config)(x)


def _activation(rng):
    return str(rng.choice(_ACTIVATIONS))


def _head(x, name, rng):
    units = int(rng.integers(1, 6))
    activation = str(rng.choice(_HEADS))
    if activation == "softmax" and units == 1:
        activation = "sigmoid"
    return _layer("Dense", x, units=units, activation=activation, name=name)


def _to_vector(x, rng):
    """Takes what a chain gives to rank 2."""
    rank = len(x.shape) - 2
    if rank < 1:
        return x
    name = rng.choice(["GlobalAveragePooling", "GlobalMaxPooling", "Flatten"])
    if name == "Flatten" and None not in x.shape[1:]:
        return _layer("Flatten", x)
    return _layer(f"GlobalAveragePooling{rank}D", x)


def _dense(x, rng):
    return _layer(
        "Dense",
        x,
        units=int(rng.integers(2, 24)),
        activation=_activation(rng),
        use_bias=bool(rng.random() < 0.8),
    )


def _normalize(x, rng):
    names = ["BatchNormalization", "LayerNormalization", "UnitNormalization"]
    return _layer(str(rng.choice(names)), x)


def _pointwise(x, rng):
    name = str(rng.choice(["ELU", "LeakyReLU", "PReLU", "ReLU", "Dropout", "Softmax"]))
    return _layer(name, x, **({"rate": 0.3} if name == "Dropout" else {}))


def _residual(x, rng):
    import keras

    name = str(rng.choice(["Add", "Multiply", "Average", "Maximum", "Concatenate"]))
    branch = keras.layers.Dense(x.shape[-1], activation=_activation(rng))(x)
    return getattr(keras.layers, name)()([x, branch])


def _convolution(x, rng):
    rank = len(x.shape) - 2
    name = str(rng.choice(["Conv", "SeparableConv", "DepthwiseConv"]))
    config = {"kernel_size": int(rng.integers(1, 4)), "padding": "same"}
    if name != "DepthwiseConv":
        config["filters"] = int(rng.integers(1, 9)) * 2
    if name == "Conv" and x.shape[-1] % 2 == 0 and rng.random() < 0.3:
        config["groups"] = 2
    if rng.random() < 0.3:
        config |= {"strides": 2, "padding": str(rng.choice(["same", "valid"]))}
        config["kernel_size"] = 2 if rank == 2 else config["kernel_size"]
    return _layer(f"{name}{rank}D", x, activation=_activation(rng), **config)


def _transposed(x, rng):
    rank = len(x.shape) - 2
    return _layer(
        f"Conv{rank}DTranspose",
        x,
        filters=int(rng.integers(1, 5)) * 2,
        kernel_size=int(rng.integers(1, 4)),
        strides=int(rng.integers(1, 3)),
        padding="same",
        activation=_activation(rng),
    )


def _convolution_and_norm(x, rng):
    rank = len(x.shape) - 2
    x = _layer(
        f"Conv{rank}D", x, filters=8, kernel_size=3, padding="same", use_bias=False
    )
    x = _layer("BatchNormalization", x)
    return _layer("ReLU", x)


def _pool(x, rng):
    rank = len(x.shape) - 2
    if min(size or 0 for size in x.shape[1:-1]) < 4:
        return x
    name = str(rng.choice(["MaxPooling", "AveragePooling"]))
    return _layer(f"{name}{rank}D", x, pool_size=2, padding="same")


def _resize(x, rng):
    rank = len(x.shape) - 2
    name = str(rng.choice(["ZeroPadding", "UpSampling"]))
    return _layer(f"{name}{rank}D", x)


def _crop(x, rng):
    del rng
    rank = len(x.shape) - 2
    if min(size or 0 for size in x.shape[1:-1]) < 4:
        return x
    return _layer(f"Cropping{rank}D", x, cropping=1)


def _permute(x, rng):
    if None in x.shape[1:] or len(x.shape) != 3:
        return _normalize(x, rng)
    return _layer("Permute", x, dims=(2, 1))


def _attention(x, rng):
    import keras

    heads = int(rng.integers(1, 4))
    layer = keras.layers.MultiHeadAttention(num_heads=heads, key_dim=4)
    return keras.layers.LayerNormalization()(keras.layers.Add()([x, layer(x, x)]))


def _lstm(x, rng):
    return _recurrent("LSTM", x, rng)


def _gru(x, rng):
    return _recurrent("GRU", x, rng)


def _rnn(x, rng):
    return _recurrent("SimpleRNN", x, rng)


def _recurrent(name, x, rng):
    return _layer(name, x, units=int(rng.integers(2, 12)), return_sequences=True)


def _bidirectional(x, rng):
    import keras

    units = int(rng.integers(2, 8))
    cell = keras.layers.GRU if rng.random() < 0.5 else keras.layers.LSTM
    return keras.layers.Bidirectional(cell(units, return_sequences=True))(x)


def _embed(x, rng):
    """Turns ids into vectors; of vectors it is a dense layer."""
    if len(x.shape) > 2:
        return _dense(x, rng)
    dimension = int(rng.integers(2, 12)) * 2
    return _layer("Embedding", x, input_dim=_NUM_WORDS, output_dim=dimension)


def _after_embedding(layer):
    """Returns a link of a chain that starts with an embedding."""

    def link(x, rng):
        return layer(_embed(x, rng) if len(x.shape) == 2 else x, rng)

    return link


_ANY = [_dense, _normalize, _pointwise, _residual]
_SEQUENCE = [*_ANY, _convolution, _convolution_and_norm, _pool, _attention, _permute]
_LOOPS = [_lstm, _gru, _rnn, _bidirectional]
_IMAGE = [*_ANY, _convolution, _convolution, _convolution_and_norm, _transposed, _pool]
_IMAGE += [_resize, _crop]


def _input(shape, dtype="float32"):
    def make(name):
        import keras

        return keras.Input(shape, dtype=dtype, name=name)

    return make


def _ids(shape, draw):
    return draw.integers(0, _NUM_WORDS, shape).astype(np.int32)


def _numbers(shape, draw):
    return draw.normal(size=shape).astype(np.float32)


# Kind -> its Input, the layers of its chain, its examples.
_INPUTS = {
    "text": (
        _input((12,), "int32"),
        [_after_embedding(layer) for layer in _SEQUENCE] + [_after_embedding(_lstm)],
        _ids,
    ),
    "series": (_input((16, 6)), _SEQUENCE + _LOOPS, _numbers),
    "image": (_input((12, 10, 3)), _IMAGE, _numbers),
    "numbers": (_input((10,)), _ANY, _numbers),
}
