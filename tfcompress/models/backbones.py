"""Text encoders of keras-nlp: random networks, and the head of a classifier."""

import numpy as np

from tfcompress.errors import InvalidValueError, require

# The BERT miniatures: layers, width, heads; the feed-forward is 4 times as wide.
# Source: Turc et al. 2019, "Well-Read Students Learn Better" (arXiv:1908.08962).
RANDOM_SHAPES = {
    "tiny": (2, 128, 2),
    "mini": (4, 256, 4),
    "small": (4, 512, 8),
    "medium": (8, 512, 8),
    "base": (12, 768, 12),
}
RANDOM_POSITIONS = 512  # rows of the position table, as in BERT
_STDDEV = 0.02  # of BERT's truncated normal initial weights
_NOT_DRAWN = ("bias", "gamma", "beta")


def random_backbone(shape, vocabulary_size, *, dropout, seed):
    """Builds a BERT encoder with random weights.

    Args:
        shape: key of `RANDOM_SHAPES`.
        vocabulary_size: rows of the token table.
        dropout: share of activations dropped in training, in [0, 1).
        seed: of the weights.
    Returns:
        `keras_nlp.models.BertBackbone` named "backbone".
    """
    keras_nlp = require("keras_nlp", extra="nlp")
    num_layers, width, num_heads = RANDOM_SHAPES[shape]
    backbone = keras_nlp.models.BertBackbone(
        vocabulary_size=vocabulary_size,
        num_layers=num_layers,
        num_heads=num_heads,
        hidden_dim=width,
        intermediate_dim=4 * width,
        dropout=dropout,
        max_sequence_length=RANDOM_POSITIONS,
        dtype="float32",
        name="backbone",
    )
    _draw_weights(backbone, seed)
    return backbone


def add_head(backbone, num_classes, *, dropout, seed):
    """Builds a classifier on the first token of an encoder.

    Args:
        backbone: encoder of keras-nlp; its pooled output is taken where it has one,
            else the first token's vector.
        num_classes: number of classes, at least 2.
        dropout: share of the vector dropped in training, in [0, 1).
        seed: of the head's weights and of every dropout.
    Returns:
        Functional Keras 3 model "bert_classifier", see `bert_classifier`.
    """
    import keras

    inputs = {
        name: keras.Input((None,), dtype="int32", name=name) for name in backbone.input
    }
    outputs = backbone(inputs)
    has_pooler = isinstance(outputs, dict)
    vector = outputs["pooled_output"] if has_pooler else outputs[:, 0, :]
    vector = keras.layers.Dropout(dropout, dtype="float32", name="dropout")(vector)
    logits = keras.layers.Dense(
        1 if num_classes == 2 else num_classes,
        kernel_initializer=keras.initializers.TruncatedNormal(
            stddev=_STDDEV, seed=_child_seed(seed, "head")
        ),
        dtype="float32",
        name="logits",
    )(vector)
    model = keras.Model(inputs, logits, name="bert_classifier")
    _seed_dropout(model, seed)
    return model


def _draw_weights(backbone, seed):
    """Draws every kernel and table anew; biases and normalizations stay 0 and 1.

    The layers' own initializers have no seed, and share one where they are the same.
    """
    import keras

    for number, weight in enumerate(backbone.trainable_variables):
        if weight.name in _NOT_DRAWN:
            continue
        initializer = keras.initializers.TruncatedNormal(
            stddev=_STDDEV, seed=_child_seed(seed, "weights", number)
        )
        weight.assign(initializer(weight.shape, dtype=weight.dtype))


def _seed_dropout(model, seed):
    """Gives every dropout its seed: in its state, and by name for its copies."""
    for number, layer in enumerate(model._flatten_layers(include_self=False)):
        child = _child_seed(seed, "dropout", number)
        if hasattr(layer, "seed"):
            layer.seed = child
        generator = getattr(layer, "seed_generator", None)
        if generator is not None:
            generator.state.assign(np.array([child, 0], np.uint32))


def _child_seed(seed, purpose, number=0):
    """Returns a seed for one weight or layer that no other shares, in [0, 2**31)."""
    words = [seed, number, *purpose.encode()]
    return int(np.random.SeedSequence(words).generate_state(1)[0]) >> 1


def check_num_classes(num_classes):
    """Raises `InvalidValueError` unless there are two classes or more."""
    if num_classes < 2:
        raise InvalidValueError(f"num_classes must be at least 2, got {num_classes!r}.")
