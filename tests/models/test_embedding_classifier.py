"""The reference model: its shape, its size, its seed."""

import keras
import numpy as np
import pytest

from tfcompress.errors import InvalidValueError
from tfcompress.models import embedding_classifier


def test_embedding_classifier_default_has_the_published_shape():
    model = embedding_classifier(2)
    assert model.count_params() == 10_001 * 16 + 16 + 1
    assert model.input_shape == (None, 250)
    assert model.inputs[0].name == "tokens"
    assert model.inputs[0].dtype == "int32"
    assert model.output_shape == (None, 1)
    assert model.layers[-1].name == "logits"
    assert model.layers[-1].activation is keras.activations.linear


def test_embedding_classifier_more_classes_has_a_logit_each():
    model = embedding_classifier(4, vocabulary_size=10, length=3, dimension=2)
    assert model.output_shape == (None, 4)


def test_embedding_classifier_same_seed_gives_same_weights():
    models = [embedding_classifier(2, vocabulary_size=9, seed=s) for s in (1, 1, 2)]
    first, second, other = (model.get_weights() for model in models)
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    assert not np.array_equal(first[0], other[0])
    assert not np.array_equal(first[1], other[1])


def test_embedding_classifier_averages_embeddings():
    model = embedding_classifier(2, vocabulary_size=2, length=2, dimension=1)
    weights = ([[1.0], [2.0], [4.0]], [[10.0]], [0.5])
    model.set_weights([np.array(values) for values in weights])
    logits = model.predict(np.array([[0, 1], [2, 2]], np.int32), verbose=0)
    assert logits.tolist() == [[15.5], [40.5]]


def test_embedding_classifier_one_class_raises():
    with pytest.raises(
        InvalidValueError, match="num_classes must be at least 2, got 1"
    ):
        embedding_classifier(1)
