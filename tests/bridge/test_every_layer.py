"""Each class of keras.layers crosses right, or is refused in true words.

`python tests/bridge/test_every_layer.py` writes the table of docs/layers.md anew.
"""

import inspect
import pathlib
import re

import keras
import numpy as np
import pytest

from tfcompress.bridge import kept_layers, to_tf_keras
from tfcompress.errors import UnsupportedModelError

L = keras.layers
_PAGE = pathlib.Path(__file__).parents[2] / "docs" / "layers.md"

# Bases that nobody calls, and layers of other frameworks, which are not installed.
_NOT_CALLED = {"Layer", "Wrapper", "InputLayer", "RNN", "AbstractRNNCell"}
_NOT_HERE = {"JaxLayer", "FlaxLayer", "TorchModuleWrapper"}
# An input object, no layer, and what takes a folder.
_NO_GRAPH = {"InputSpec", "FeatureSpace"}
# Keras 3.15 itself cannot call it in a functional model: "part of a cycle".
_NOT_FUNCTIONAL = {"Equalization"}
_CELLS = {"GRUCell", "LSTMCell", "SimpleRNNCell", "StackedRNNCells"}

_VECTOR, _STEPS, _IMAGE = (6,), (6, 4), (8, 8, 3)
_VOLUME = (6, 6, 6, 2)

# Class -> arguments of its constructor, beside those that it has defaults for.
_ARGUMENTS = {
    "Activation": {"activation": "tanh"},
    "AugMix": {"value_range": (0, 1)},
    "AutoContrast": {"value_range": (0, 1)},
    "Bidirectional": {"layer": lambda: L.GRU(3)},
    "ContrastLimitedAdaptiveHistogramEqualization": {"value_range": (0, 1)},
    "CategoryEncoding": {"num_tokens": 9},
    "CenterCrop": {"height": 5, "width": 4},
    "Cropping1D": {"cropping": 1},
    "Dense": {"units": 3},
    "Discretization": {"bin_boundaries": [-0.5, 0.0, 0.5]},
    "Dot": {"axes": -1},
    "EinsumDense": {"equation": "ab,bc->ac", "output_shape": 3},
    "Embedding": {"input_dim": 9, "output_dim": 4},
    "GRU": {"units": 3},
    "GroupNormalization": {"groups": 2},
    "GroupQueryAttention": {
        "head_dim": 4,
        "num_query_heads": 4,
        "num_key_value_heads": 2,
    },
    "HashedCrossing": {"num_bins": 5},
    "Hashing": {"num_bins": 5},
    "IntegerLookup": {"vocabulary": [3, 5, 7]},
    "LSTM": {"units": 3},
    "Lambda": {"function": lambda: abs},
    "MaxNumBoundingBoxes": {"max_number": 3},
    "MelSpectrogram": {"fft_length": 16, "sequence_stride": 8, "num_mel_bins": 4},
    "MultiHeadAttention": {"num_heads": 2, "key_dim": 4},
    "Normalization": {"mean": 0.5, "variance": 2.0},
    "Permute": {"dims": (1,)},
    "Pipeline": {"layers": lambda: [L.RandomFlip(), L.CenterCrop(5, 4)]},
    "RNN": {"cell": lambda: L.GRUCell(3)},
    "RandAugment": {"value_range": (0, 1)},
    "RandomBrightness": {"factor": 0.2, "value_range": (0, 1)},
    "RandomColorDegeneration": {"factor": 0.2},
    "RandomColorJitter": {"value_range": (0, 1), "brightness_factor": 0.2},
    "RandomContrast": {"factor": 0.2},
    "RandomCrop": {"height": 8, "width": 8},
    "RandomGrayscale": {"factor": 0.5},
    "RandomHue": {"factor": 0.2, "value_range": (0, 1)},
    "RandomInvert": {"factor": 0.5, "value_range": (0, 1)},
    "RandomPosterization": {"factor": 4, "value_range": (0, 1)},
    "RandomRotation": {"factor": 0.2},
    "RandomSaturation": {"factor": 0.2, "value_range": (0, 1)},
    "RandomSharpness": {"factor": 0.2, "value_range": (0, 1)},
    "RandomTranslation": {"height_factor": 0.2, "width_factor": 0.2},
    "RandomZoom": {"height_factor": 0.2},
    "RepeatVector": {"n": 2},
    "Rescaling": {"scale": 2.0},
    "Reshape": {"target_shape": (2, 3)},
    "Resizing": {"height": 5, "width": 4},
    "ReversibleEmbedding": {"input_dim": 9, "output_dim": 4},
    "STFTSpectrogram": {"frame_length": 16, "frame_step": 8, "fft_length": 16},
    "SimpleRNN": {"units": 3},
    "Solarization": {"value_range": (0, 1)},
    "SpectralNormalization": {"layer": lambda: L.Dense(3)},
    "StringLookup": {"vocabulary": ["a", "b"]},
    "TextVectorization": {"vocabulary": ["a", "b"], "output_sequence_length": 3},
    "TimeDistributed": {"layer": lambda: L.Dense(3)},
    "UpSampling1D": {"size": 2},
}
_ALPHA = ("AlphaDropout", "Dropout", "GaussianDropout", "SpatialDropout")
_IDS = ("CategoryEncoding", "Embedding", "Hashing", "IntegerLookup", "ReversibleEmb")
_MERGES = ("Add", "Average", "Concatenate", "Dot", "Maximum", "Minimum", "Multiply")


def _arguments(name):
    """Gives the arguments of a class: its own, or those of its family."""
    found = {}
    if name.startswith(_ALPHA):
        found = {"rate": 0.3}
    elif name == "GaussianNoise":
        found = {"stddev": 0.3}
    elif name in _ARGUMENTS:
        found = _ARGUMENTS[name]
    elif name.startswith("Adaptive"):
        found = {"output_size": 2}
    elif "Pool" in name and not name.startswith("Global"):
        found = {"pool_size": 2}
    elif name.startswith(("Conv", "SeparableConv")):
        found = {"filters": 3, "kernel_size": 2}
    elif name.startswith("DepthwiseConv"):
        found = {"kernel_size": 2}
    return {k: v() if inspect.isfunction(v) else v for k, v in found.items()}


def _shape(name, layer):
    if name.startswith("ConvLSTM"):
        return (4, *((7,) * int(name[-2])), 2)
    by_rank = {"1D": _STEPS, "2D": _IMAGE, "3D": _VOLUME}
    rank = name.removesuffix("Transpose")[-2:]
    if rank in by_rank:
        return by_rank[rank]
    if name.endswith("Spectrogram"):
        return (64,) if name.startswith("Mel") else (64, 1)
    base = keras.src.layers.preprocessing.image_preprocessing
    if isinstance(
        layer, base.base_image_preprocessing_layer.BaseImagePreprocessingLayer
    ):
        return _IMAGE
    if name in ("Pipeline", "Resizing", "RandomCrop"):
        return _IMAGE
    if "Attention" in name or name in (
        *("Bidirectional", "GRU", "LSTM", "SimpleRNN", "TimeDistributed", "Masking"),
    ):
        return _STEPS
    return _VECTOR


def _inputs(name, layer):
    """Gives the arrays that a layer is called with."""
    rng = np.random.default_rng(0)
    if name in ("StringLookup", "TextVectorization"):
        shape = (2, 1) if name == "TextVectorization" else (2, 6)
        return [rng.choice(np.array(["a", "b b", "c"], object), shape)]
    if name == "HashedCrossing":
        return [rng.integers(0, 9, (2,)).astype("int32") for _ in range(2)]
    if name.startswith(_IDS):
        return [rng.integers(1, 9, (2, 6)).astype("int32")]
    shape = (2, *_shape(name, layer))
    two = name in _MERGES or name == "Subtract" or "Attention" in name
    return [rng.uniform(0.1, 1, shape).astype("float32") for _ in range(1 + two)]


def _model(name):
    """Gives a model of one layer and the arrays for it."""
    layer = getattr(L, name)(**_arguments(name), name="layer")
    arrays = _inputs(name, layer)
    inputs = [
        keras.Input(a.shape[1:], dtype="string" if a.dtype == object else a.dtype.name)
        for a in arrays
    ]
    if name in ("GroupQueryAttention", "MultiHeadAttention"):
        outputs = layer(*inputs)
    else:
        outputs = layer(inputs if len(inputs) > 1 else inputs[0])
    return keras.Model(inputs, outputs), arrays


def _classes():
    found = [
        name
        for name, value in vars(L).items()
        if inspect.isclass(value) and issubclass(value, L.Layer)
    ]
    left = _NOT_CALLED | _NOT_HERE | _NO_GRAPH | _NOT_FUNCTIONAL | _CELLS
    # One class may have several names, such as Conv2D and Convolution2D.
    first = {getattr(L, name): name for name in sorted(found, reverse=True)}
    names = {
        kind.__name__ if hasattr(L, kind.__name__) else name
        for kind, name in first.items()
    }
    return sorted(names - left)


REFUSED = {
    "Lambda": r"'layer' \(Lambda\) cannot cross: its Python function can be neither",
    "TFSMLayer": r"'layer' \(TFSMLayer\) cannot cross: it runs a SavedModel",
}


@pytest.mark.parametrize("name", [x for x in _classes() if x not in REFUSED])
def test_layer_of_keras_crosses_right(name, randomize, difference):
    model, arrays = _model(name)
    randomize(model)
    flat = to_tf_keras(model)
    tensors = [
        keras.ops.convert_to_tensor(a.astype(str) if a.dtype == object else a)
        for a in arrays
    ]
    tensors = tensors if len(tensors) > 1 else tensors[0]
    expected = model(tensors, training=False)
    assert difference(expected, flat(tensors)) <= 1e-5
    _WAYS[name] = _way(flat)
    for row in kept_layers(flat):
        assert re.match("crosses as it is(:|, with its weights:) ", row.reason)
        assert ("with its weights" in row.reason) == (row.num_bytes > 0)
        assert "rules=" not in row.reason


def test_lambda_is_refused():
    with pytest.raises(UnsupportedModelError, match=REFUSED["Lambda"]):
        to_tf_keras(_model("Lambda")[0])


def test_saved_model_is_refused(tmp_path):
    dense = keras.Sequential([keras.Input((4,)), L.Dense(2)])
    dense.export(tmp_path, verbose=False)
    layer = L.TFSMLayer(tmp_path, call_endpoint="serve", name="layer")
    inputs = keras.Input((4,))
    with pytest.raises(UnsupportedModelError, match=REFUSED["TFSMLayer"]):
        to_tf_keras(keras.Model(inputs, layer(inputs)))


def test_random_crop_of_larger_images_says_what_keras_does():
    inputs = keras.Input((8, 8, 3))
    model = keras.Model(inputs, L.RandomCrop(4, 4, name="crop")(inputs))
    with pytest.raises(
        UnsupportedModelError,
        match=r"'crop' \(RandomCrop\) gives \[\(\(None, 8, 8, 3\), 'float32'\)\] at "
        r"inference, and Keras 3 says \[\(\(None, 4, 4, 3\), .*; take a layer that "
        "gives what Keras says of it, such as CenterCrop in place of RandomCrop",
    ):
        to_tf_keras(model)


# Class -> its way, as far as the tests before have seen it: crossing takes time.
_WAYS = {}


def _way(flat):
    """Says in which way the layer of a flat model has crossed."""
    rows = kept_layers(flat)
    if not rows:
        return "with a rule"
    if "identity" in rows[0].reason:
        return "crosses as it is: the identity at inference"
    return rows[0].reason.partition(":")[0]


def _table():
    """Gives the page's table: which classes of keras.layers cross as they are."""
    ways = {}
    for name in _classes():
        if name in REFUSED:
            way = "refused"
        else:
            way = _WAYS.get(name) or _way(to_tf_keras(_model(name)[0]))
        ways.setdefault(way, []).append(name)
    lines = ["| way | classes of keras.layers |", "| --- | --- |"]
    return [*lines, *(f"| {way} | {', '.join(ways[way])} |" for way in sorted(ways))]


def _split_page():
    text = _PAGE.read_text()
    before, _, rest = text.partition("<!-- layers -->\n")
    table, _, after = rest.partition("<!-- /layers -->")
    return before, table, after


def test_page_has_the_way_of_each_class():
    assert _split_page()[1].splitlines() == _table()


if __name__ == "__main__":
    before, _, after = _split_page()
    table = "\n".join(_table())
    _PAGE.write_text(f"{before}<!-- layers -->\n{table}\n<!-- /layers -->{after}")
