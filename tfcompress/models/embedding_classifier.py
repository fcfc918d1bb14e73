"""Text classifier that averages word embeddings: small, fast, a known reference.

Source: the model of TensorFlow's tutorial "Basic text classification"; ours takes word
ids, puts out logits and seeds everything random.
"""

from tfcompress.errors import InvalidValueError


def embedding_classifier(
    num_classes,
    *,
    vocabulary_size=10_000,
    length=250,
    dimension=16,
    dropout=0.2,
    seed=0,
):
    """Builds Embedding, Dropout, GlobalAveragePooling1D, Dropout, Dense.

    Args:
        num_classes: number of classes, at least 2.
        vocabulary_size: ids are below this. The table has one row more, as in the
            source, so that its size can be compared with published figures.
        length: ids of each text. Padding takes part in the average.
        dimension: floats of each word's vector.
        dropout: share of activations dropped in training, in [0, 1).
        seed: seed of the initial weights and of the dropout.
    Returns:
        Functional Keras 3 model from `"tokens"`, int32, shape `(None, length)`, to
        `"logits"`, float32, shape `(None, 1)` for two classes and else
        `(None, num_classes)`. Train it with a loss `from_logits`.
    Raises:
        InvalidValueError: if `num_classes` is below 2.
    """
    import keras

    if num_classes < 2:
        raise InvalidValueError(f"num_classes must be at least 2, got {num_classes!r}.")
    layers, initializers = keras.layers, keras.initializers
    tokens = keras.Input((length,), dtype="int32", name="tokens")
    vectors = layers.Embedding(
        vocabulary_size + 1,
        dimension,
        embeddings_initializer=initializers.RandomUniform(-0.05, 0.05, seed=seed),
        name="embedding",
    )(tokens)
    vectors = layers.Dropout(dropout, seed=seed + 1, name="word_dropout")(vectors)
    average = layers.GlobalAveragePooling1D(name="average")(vectors)
    average = layers.Dropout(dropout, seed=seed + 2, name="dropout")(average)
    logits = layers.Dense(
        1 if num_classes == 2 else num_classes,
        kernel_initializer=initializers.GlorotUniform(seed=seed + 3),
        name="logits",
    )(average)
    return keras.Model(tokens, logits, name="embedding_classifier")
