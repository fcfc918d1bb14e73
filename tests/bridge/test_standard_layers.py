"""Each standard layer computes the same on both sides, whatever its arguments."""

import keras
import numpy as np
import pytest
import tf_keras

from tfcompress.bridge import to_keras3, to_tf_keras
from tfcompress.bridge.application_rules import application_rules
from tfcompress.bridge.standard_layers import standard_rules
from tfcompress.errors import UnsupportedModelError

L = keras.layers

_STEPS = (7, 6)
_IMAGE = (9, 8, 6)
_VOLUME = (5, 6, 4, 4)

# How the names of the cases with weights begin.
_WITH_WEIGHTS = (
    "batch_norm",
    "bidirectional",
    "conv",
    "dense",
    "depthwise",
    "group",
    "gru",
    "layer_norm",
    "lstm",
    "normalization",
    "prelu",
    "separable",
    "simple_rnn",
)

# name -> (layer factory, input shape without the batch).
CASES = {
    "activity_regularization": (lambda: L.ActivityRegularization(l1=0.1), _STEPS),
    "alpha_dropout": (lambda: L.AlphaDropout(0.3), _STEPS),
    "average_pooling_1d": (lambda: L.AveragePooling1D(3, 2, "same"), _STEPS),
    "average_pooling_2d": (lambda: L.AveragePooling2D((2, 3), padding="same"), _IMAGE),
    "average_pooling_3d": (lambda: L.AveragePooling3D(2), _VOLUME),
    "batch_norm": (lambda: L.BatchNormalization(), _IMAGE),
    "batch_norm_plain": (
        lambda: L.BatchNormalization(center=False, scale=False, epsilon=1e-6),
        _IMAGE,
    ),
    "batch_norm_axis_1": (lambda: L.BatchNormalization(axis=1, momentum=0.9), _STEPS),
    "batch_norm_synchronized": (lambda: L.BatchNormalization(synchronized=True), (6,)),
    "bidirectional_gru_sum": (
        lambda: L.Bidirectional(L.GRU(3, return_sequences=True), merge_mode="sum"),
        _STEPS,
    ),
    "bidirectional_lstm": (lambda: L.Bidirectional(L.LSTM(3)), _STEPS),
    "bidirectional_two_layers": (
        lambda: L.Bidirectional(
            L.SimpleRNN(3), backward_layer=L.SimpleRNN(3, go_backwards=True)
        ),
        _STEPS,
    ),
    "conv_1d": (lambda: L.Conv1D(5, 3, strides=2, padding="same"), _STEPS),
    "conv_1d_causal": (lambda: L.Conv1D(5, 3, padding="causal"), _STEPS),
    "conv_1d_dilated": (lambda: L.Conv1D(5, 2, dilation_rate=2), _STEPS),
    "conv_2d": (lambda: L.Conv2D(5, (3, 2), activation="relu"), _IMAGE),
    "conv_2d_same": (lambda: L.Conv2D(5, 3, strides=(2, 1), padding="same"), _IMAGE),
    "conv_2d_groups": (lambda: L.Conv2D(4, 3, groups=2, use_bias=False), _IMAGE),
    "conv_2d_dilated": (lambda: L.Conv2D(5, 3, dilation_rate=(1, 2)), _IMAGE),
    "conv_3d": (lambda: L.Conv3D(5, 2, strides=2), _VOLUME),
    "conv_1d_transpose": (lambda: L.Conv1DTranspose(5, 3, strides=2), _STEPS),
    "conv_2d_transpose": (
        lambda: L.Conv2DTranspose(5, 3, strides=2, padding="same"),
        _IMAGE,
    ),
    "conv_2d_transpose_output_padding": (
        lambda: L.Conv2DTranspose(
            5, 3, strides=2, padding="same", output_padding=(1, 0)
        ),
        _IMAGE,
    ),
    "conv_3d_transpose": (lambda: L.Conv3DTranspose(5, 2, strides=2), _VOLUME),
    "cropping_1d": (lambda: L.Cropping1D((1, 2)), _STEPS),
    "cropping_2d": (lambda: L.Cropping2D(((1, 2), (0, 1))), _IMAGE),
    "cropping_3d": (lambda: L.Cropping3D(1), _VOLUME),
    "dense": (lambda: L.Dense(5, activation="tanh"), (6,)),
    "dense_on_steps": (lambda: L.Dense(5, use_bias=False), _STEPS),
    "depthwise_conv_1d": (lambda: L.DepthwiseConv1D(3, depth_multiplier=2), _STEPS),
    "depthwise_conv_2d": (
        lambda: L.DepthwiseConv2D(3, strides=2, padding="same", depth_multiplier=2),
        _IMAGE,
    ),
    "dropout": (lambda: L.Dropout(0.3, noise_shape=(None, 1, 6)), _STEPS),
    "elu": (lambda: L.ELU(0.7), _STEPS),
    "flatten": (lambda: L.Flatten(), _IMAGE),
    "gaussian_dropout": (lambda: L.GaussianDropout(0.3), _STEPS),
    "gaussian_noise": (lambda: L.GaussianNoise(0.3), _STEPS),
    "global_average_pooling_1d": (lambda: L.GlobalAveragePooling1D(), _STEPS),
    "global_average_pooling_2d": (
        lambda: L.GlobalAveragePooling2D(keepdims=True),
        _IMAGE,
    ),
    "global_average_pooling_3d": (lambda: L.GlobalAveragePooling3D(), _VOLUME),
    "global_max_pooling_1d": (lambda: L.GlobalMaxPooling1D(), _STEPS),
    "global_max_pooling_2d": (
        lambda: L.GlobalMaxPooling2D(data_format="channels_first"),
        _IMAGE,
    ),
    "global_max_pooling_3d": (lambda: L.GlobalMaxPooling3D(), _VOLUME),
    "group_norm": (lambda: L.GroupNormalization(3, epsilon=1e-2), _IMAGE),
    "group_norm_each_channel": (lambda: L.GroupNormalization(-1), _STEPS),
    "gru": (lambda: L.GRU(3, return_sequences=True), _STEPS),
    "gru_reset_before": (
        lambda: L.GRU(3, reset_after=False, go_backwards=True),
        _STEPS,
    ),
    "identity": (lambda: L.Identity(), _STEPS),
    "layer_norm": (lambda: L.LayerNormalization(), _STEPS),
    "layer_norm_small_epsilon": (lambda: L.LayerNormalization(epsilon=1e-12), _STEPS),
    "layer_norm_two_axes": (
        lambda: L.LayerNormalization(axis=(1, 2), center=False),
        _STEPS,
    ),
    "leaky_relu": (lambda: L.LeakyReLU(0.17), _STEPS),
    "leaky_relu_default": (lambda: L.LeakyReLU(), _STEPS),
    "lstm": (lambda: L.LSTM(3), _STEPS),
    "lstm_plain": (
        lambda: L.LSTM(3, use_bias=False, activation="relu", unroll=True),
        _STEPS,
    ),
    "masking": (lambda: L.Masking(0.25), _STEPS),
    "max_pooling_1d": (lambda: L.MaxPooling1D(2), _STEPS),
    "max_pooling_2d": (lambda: L.MaxPooling2D(3, 2, "same"), _IMAGE),
    "max_pooling_3d": (lambda: L.MaxPooling3D(2), _VOLUME),
    "normalization_adapted": (lambda: L.Normalization(), _STEPS),
    "normalization_given": (
        lambda: L.Normalization(mean=[1, 2, 3, 4, 5, 6], variance=[2] * 6, invert=True),
        _STEPS,
    ),
    "permute": (lambda: L.Permute((3, 1, 2)), _IMAGE),
    "prelu": (lambda: L.PReLU(), _STEPS),
    "prelu_shared": (lambda: L.PReLU(shared_axes=(1, 2)), _IMAGE),
    "relu": (lambda: L.ReLU(0.5, negative_slope=0.1, threshold=0.2), _STEPS),
    "repeat_vector": (lambda: L.RepeatVector(3), (6,)),
    "rescaling": (lambda: L.Rescaling(1 / 3, offset=-1.0), _IMAGE),
    "rescaling_by_channel": (
        lambda: L.Rescaling(np.arange(1, 7), offset=[0, 1, 0, 1, 0, 1]),
        _IMAGE,
    ),
    "reshape": (lambda: L.Reshape((-1, 3)), _STEPS),
    "separable_conv_1d": (
        lambda: L.SeparableConv1D(5, 3, depth_multiplier=2, padding="same"),
        _STEPS,
    ),
    "separable_conv_2d": (lambda: L.SeparableConv2D(5, 3, strides=2), _IMAGE),
    "simple_rnn": (lambda: L.SimpleRNN(3), _STEPS),
    "softmax": (lambda: L.Softmax(axis=1), _STEPS),
    "softmax_two_axes": (lambda: L.Softmax(axis=(1, 2)), _STEPS),
    "spatial_dropout_1d": (lambda: L.SpatialDropout1D(0.3), _STEPS),
    "spatial_dropout_2d": (lambda: L.SpatialDropout2D(0.3), _IMAGE),
    "spatial_dropout_3d": (lambda: L.SpatialDropout3D(0.3), _VOLUME),
    "unit_norm": (lambda: L.UnitNormalization(axis=(1, 2)), _STEPS),
    "up_sampling_1d": (lambda: L.UpSampling1D(3), _STEPS),
    "up_sampling_2d": (lambda: L.UpSampling2D((2, 3)), _IMAGE),
    "up_sampling_2d_bilinear": (
        lambda: L.UpSampling2D(2, interpolation="bilinear"),
        _IMAGE,
    ),
    "up_sampling_2d_bicubic": (
        lambda: L.UpSampling2D(2, interpolation="bicubic"),
        _IMAGE,
    ),
    "up_sampling_3d": (lambda: L.UpSampling3D(2), _VOLUME),
    "zero_padding_1d": (lambda: L.ZeroPadding1D((1, 2)), _STEPS),
    "zero_padding_2d": (lambda: L.ZeroPadding2D(((1, 0), (2, 1))), _IMAGE),
    "zero_padding_3d": (lambda: L.ZeroPadding3D(1), _VOLUME),
}

MERGES = {
    "add": lambda: L.Add(),
    "average": lambda: L.Average(),
    "concatenate": lambda: L.Concatenate(axis=1),
    "dot": lambda: L.Dot(axes=(2, 2), normalize=True),
    "maximum": lambda: L.Maximum(),
    "minimum": lambda: L.Minimum(),
    "multiply": lambda: L.Multiply(),
    "subtract": lambda: L.Subtract(),
}


@pytest.mark.parametrize("case", CASES)
def test_layer_in_tf_keras_gives_same_output(case, randomize, difference):
    make, shape = CASES[case]
    model = randomize(keras.Sequential([keras.Input(shape), make()]))
    inputs = np.random.default_rng(1).normal(size=(3, *shape)).astype("float32")
    flat = to_tf_keras(model)
    assert difference(model(inputs), flat(inputs)) <= 1e-5


@pytest.mark.parametrize("case", MERGES)
def test_merging_layer_in_tf_keras_gives_same_output(case, difference):
    inputs = [keras.Input(_STEPS), keras.Input(_STEPS)]
    model = keras.Model(inputs, MERGES[case]()(inputs))
    rng = np.random.default_rng(1)
    arrays = [rng.normal(size=(3, *_STEPS)).astype("float32") for _ in inputs]
    assert difference(model(arrays), to_tf_keras(model)(arrays)) <= 1e-5


@pytest.mark.parametrize(
    "case", [name for name in CASES if name.startswith(_WITH_WEIGHTS)]
)
def test_layer_with_changed_weights_comes_back(case, randomize, difference):
    make, shape = CASES[case]
    model = randomize(keras.Sequential([keras.Input(shape), make()]))
    flat = to_tf_keras(model)
    flat.set_weights([value * 1.5 for value in flat.get_weights()])
    back = to_keras3(model, flat)
    inputs = np.random.default_rng(1).normal(size=(3, *shape)).astype("float32")
    assert difference(flat(inputs), back(inputs)) <= 1e-5


def test_embedding_in_tf_keras_gives_the_rows(randomize):
    model = randomize(
        keras.Sequential([keras.Input((4,), dtype="int32"), L.Embedding(9, 5)])
    )
    ids = np.array([[8, 0, 1, 1]], "int32")
    expected = model.layers[0].embeddings.numpy()[ids]
    np.testing.assert_array_equal(to_tf_keras(model)(ids), expected)


def test_dense_in_tf_keras_gives_known_answer():
    model = keras.Sequential([keras.Input((2,)), L.Dense(1, name="dense")])
    model.set_weights([np.array([[2.0], [3.0]]), np.array([4.0])])
    flat = to_tf_keras(model)
    np.testing.assert_array_equal(flat(np.array([[10.0, 100.0]])), [[324.0]])
    assert type(flat.get_layer("dense")) is tf_keras.layers.Dense


def test_channels_first_convolution_keeps_its_data_format():
    model = keras.Sequential(
        [keras.Input((3, 8, 8)), L.Conv2D(4, 3, data_format="channels_first", name="c")]
    )
    flat = to_tf_keras(model)
    assert flat.get_layer("c").data_format == "channels_first"
    assert flat.output_shape == (None, 4, 6, 6)


def test_lstm_with_states_in_and_out_gives_same_outputs(randomize, difference):
    steps, state, cell = keras.Input(_STEPS), keras.Input((3,)), keras.Input((3,))
    outputs = L.LSTM(3, return_state=True)(steps, initial_state=[state, cell])
    model = randomize(keras.Model([steps, state, cell], outputs))
    rng = np.random.default_rng(1)
    arrays = [
        rng.normal(size=(2, *tensor.shape[1:])).astype("float32")
        for tensor in model.inputs
    ]
    assert difference(model(arrays), to_tf_keras(model)(arrays)) <= 1e-5


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (
            lambda: L.BatchNormalization(renorm=True, name="norm"),
            r"'norm' \(BatchNormalization\) .*it has renorm=True; only renorm=False",
        ),
        (
            lambda: L.LSTM(3, recurrent_activation="hard_sigmoid", name="lstm"),
            r"'lstm' \(LSTM\) .*: it has the activation 'hard_sigmoid', which tf",
        ),
        (
            lambda: L.ZeroPadding1D(data_format="channels_first", name="pad"),
            r"'pad' \(ZeroPadding1D\) crosses as it is: it has no weights",
        ),
        (
            lambda: L.Bidirectional(L.ConvLSTM1D(3, 2), name="both"),
            r"'both' \(Bidirectional\) .*: it wraps a ConvLSTM1D; LSTM, GRU",
        ),
    ],
    ids=["renorm", "rnn_activation", "data_format", "bidirectional"],
)
def test_layer_with_other_arguments_crosses_as_it_is(
    make, words, randomize, check_kept
):
    layer = make()
    shape = (7, 6, 2) if isinstance(layer, L.Bidirectional) else _STEPS
    model = randomize(keras.Sequential([keras.Input(shape), layer]))
    arrays = np.random.default_rng(0).normal(size=(2, *shape)).astype("float32")
    check_kept(model, arrays, words)


@pytest.mark.filterwarnings("ignore:You passed `rms_scaling=True`")
def test_rms_scaling_crosses_as_it_is(randomize, check_kept):
    layer = L.LayerNormalization(rms_scaling=True, name="norm")
    model = randomize(keras.Sequential([keras.Input(_STEPS), layer]))
    arrays = np.random.default_rng(0).normal(size=(2, *_STEPS)).astype("float32")
    check_kept(model, arrays, "'norm'.*rms_scaling=True")


def test_stateful_lstm_raises():
    model = keras.Sequential(
        [keras.Input(_STEPS, batch_size=2), L.LSTM(3, stateful=True, name="lstm")]
    )
    with pytest.raises(UnsupportedModelError, match=r"'lstm' \(LSTM\) has stateful"):
        to_tf_keras(model)


def test_every_standard_layer_has_a_case():
    made = [make() for make, _ in CASES.values()]
    made += [make() for make in MERGES.values()]
    tested = {type(layer) for layer in made} | {L.Activation, L.Embedding}
    # test_attention, test_einsum and test_transformer_layers have these.
    tested |= {L.MultiHeadAttention, L.EinsumDense, L.ReversibleEmbedding}
    tested |= {L.SpectralNormalization, L.TimeDistributed}  # test_kept has those
    in_applications = set(application_rules())  # test_applications has those
    assert set(standard_rules()) == tested | in_applications
