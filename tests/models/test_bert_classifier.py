"""The BERT classifier: shapes, seeds, the families of keras-nlp, another process."""

import keras
import numpy as np
import pytest

from tfcompress.data import tokenize
from tfcompress.models import bert_classifier, load_preset

VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "film", "##s"]
TEXTS = ["good films", "a [SEP] film"]


@pytest.fixture(scope="module")
def model():
    return bert_classifier("random:tiny", 3, 16, vocabulary=VOCABULARY, seed=1)


def arrays(length=6):
    preset = load_preset("random:tiny", vocabulary=VOCABULARY)
    names = ["token_ids", "padding_mask", "segment_ids"]
    return tokenize(preset.tokenizer(16), TEXTS, names, length=length)


def test_bert_classifier_has_free_inputs_and_named_layers(model):
    shapes = {tensor.name: (tensor.shape, tensor.dtype) for tensor in model.inputs}
    names = ("padding_mask", "segment_ids", "token_ids")
    assert shapes == dict.fromkeys(names, ((None, None), "int32"))
    assert model.output_shape == (None, 3)
    assert model.name == "bert_classifier"
    assert model.layers[-1].name == "logits"
    assert model.layers[-1].activation is keras.activations.linear
    assert model.get_layer("backbone").num_layers == 2


def test_bert_classifier_two_classes_have_one_logit(checkpoint):
    assert bert_classifier(str(checkpoint), 2, 16).output_shape == (None, 1)


def test_bert_classifier_padding_does_not_matter(model):
    short = model.predict(arrays(6), verbose=0)
    long = model.predict(arrays(16), verbose=0)
    assert np.abs(short - long).max() < 1e-5


def test_bert_classifier_weights_are_berts(model):
    backbone = model.get_layer("backbone")
    kernel = np.array(backbone.get_layer("transformer_layer_0").weights[0])
    table = np.array(backbone.get_layer("token_embedding").embeddings)
    assert table.shape == (8, 128)
    for weight in (kernel, table):
        assert 0.015 < weight.std() < 0.02  # of 0.02, cut at twice that
        assert np.abs(weight).max() <= 0.04
    assert model.count_params() == (
        (8 + 512 + 2) * 128 + 2 * 128  # tables and their normalization
        + 2 * (4 * (128 * 128 + 128) + 2 * 128 * 512 + 512 + 128 + 4 * 128)
        + 128 * 128 + 128 + 3 * 128 + 3  # pooler and logits
    )  # fmt: skip


def test_bert_classifier_seed_decides_weights_and_dropout(model):
    inputs = arrays()
    other = bert_classifier("random:tiny", 3, 16, vocabulary=VOCABULARY, seed=2)
    again = bert_classifier("random:tiny", 3, 16, vocabulary=VOCABULARY, seed=1)
    for first, second in zip(model.get_weights(), again.get_weights(), strict=True):
        assert np.array_equal(first, second)
    kernels = [weight for weight in model.weights if "kernel" in weight.name]
    values = {float(np.ravel(weight)[0]) for weight in kernels}
    assert len(values) == len(kernels)  # no two are drawn alike
    trained = [np.array(m(inputs, training=True)) for m in (again, other)]
    fresh = bert_classifier("random:tiny", 3, 16, vocabulary=VOCABULARY, seed=1)
    assert np.array_equal(trained[0], np.array(fresh(inputs, training=True)))
    assert not np.array_equal(trained[0], trained[1])


def test_bert_classifier_seed_leaves_the_checkpoints_weights(checkpoint):
    first, second = (bert_classifier(str(checkpoint), 3, 16, seed=s) for s in (0, 1))
    for a, b in zip(
        *(m.get_layer("backbone").weights for m in (first, second)), strict=True
    ):
        assert np.array_equal(a, b)
    heads = [np.array(m.get_layer("logits").kernel) for m in (first, second)]
    assert not np.array_equal(*heads)


def test_bert_classifier_saves_and_loads(model, tmp_path):
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    expected = model.predict(arrays(), verbose=0)
    assert np.isfinite(expected).all()
    assert np.array_equal(loaded.predict(arrays(), verbose=0), expected)


def save_keras_preset(family, folder):
    import keras_nlp

    sizes = {
        "num_layers": 1,
        "num_heads": 2,
        "hidden_dim": 4,
        "intermediate_dim": 8,
        "max_sequence_length": 16,
    }
    if family == "Electra":
        sizes |= {"vocab_size": 300, "embedding_dim": 6}
    else:
        sizes["vocabulary_size"] = 300
    if family == "Albert":
        sizes["embedding_dim"] = 6
    models = keras_nlp.models
    backbone = getattr(models, f"{family}Backbone")(**sizes)
    backbone.save_to_preset(str(folder))
    return backbone, models


@pytest.mark.parametrize("family", ["Bert", "DistilBert", "Electra"])
def test_bert_classifier_keras_folder_with_wordpiece(family, tmp_path):
    backbone, models = save_keras_preset(family, tmp_path)
    layer = getattr(models, f"{family}Tokenizer")(VOCABULARY, lowercase=True)
    layer.save_to_preset(str(tmp_path))
    preset = load_preset(str(tmp_path))
    model = preset.build_classifier(3, 16)
    names = [tensor.name for tensor in model.inputs]
    inputs = tokenize(preset.tokenizer(16), ["Good films café"], names)
    assert inputs["token_ids"].tolist() == [
        [2, *layer(["Good films café"])[0], 3, 0, 0]
    ]
    _assert_same_encoder(backbone, model, inputs)


def test_bert_classifier_keras_folder_of_roberta(tmp_path):
    import tokenizers

    letters = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    entries = ["<s>", "<pad>", "</s>", "<unk>", *letters, "lm", "<mask>"]
    vocabulary = {entry: number for number, entry in enumerate(entries)}
    backbone, models = save_keras_preset("Roberta", tmp_path)
    models.RobertaTokenizer(vocabulary, ["l m"]).save_to_preset(str(tmp_path))
    preset = load_preset(str(tmp_path))
    model = preset.build_classifier(3, 16)
    inputs = tokenize(preset.tokenizer(16), ["film"], ["token_ids", "padding_mask"])
    expected = [vocabulary[entry] for entry in ("<s>", "f", "i", "lm", "</s>")]
    assert inputs["token_ids"].tolist() == [[*expected, 1, 1, 1]]
    _assert_same_encoder(backbone, model, inputs)


@pytest.mark.parametrize("family", ["XLMRoberta", "Albert"])
def test_bert_classifier_keras_folder_with_tokenizer_json(family, tmp_path):
    backbone, _ = save_keras_preset(family, tmp_path)
    source = load_preset("random:tiny", vocabulary=VOCABULARY)
    source.tokenizer(16).save(str(tmp_path / "tokenizer.json"))
    preset = load_preset(str(tmp_path))
    model = preset.build_classifier(3, 16)
    names = [tensor.name for tensor in model.inputs]
    _assert_same_encoder(backbone, model, tokenize(preset.tokenizer(16), TEXTS, names))


def _assert_same_encoder(backbone, model, inputs):
    expected = keras.tree.flatten(backbone(inputs))
    loaded = keras.tree.flatten(model.get_layer("backbone")(inputs))
    for first, second in zip(expected, loaded, strict=True):
        assert np.array_equal(first, second)
    assert np.isfinite(model.predict(inputs, verbose=0)).all()
