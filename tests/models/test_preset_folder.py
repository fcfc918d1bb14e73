"""Checkpoints: what a damaged or foreign folder says, in one line."""

import json

import numpy as np
import pytest

from tfcompress.errors import ModelFileError, UnsupportedModelError
from tfcompress.models import load_preset
from tfcompress.models.preset_folder import read_checkpoint


def test_read_checkpoint_hugging_face_folder(checkpoint):
    read = read_checkpoint(checkpoint)
    assert (read.family, read.vocabulary_size, read.positions) == (
        "BertBackbone",
        9,
        16,
    )


def test_read_checkpoint_roberta_has_two_positions_less(checkpoint, edit_config):
    edit_config(checkpoint, model_type="roberta")
    read = read_checkpoint(checkpoint)
    assert (read.family, read.positions) == ("RobertaBackbone", 14)


def test_load_backbone_has_the_checkpoints_weights(checkpoint):
    from safetensors.numpy import load_file

    weights = load_file(checkpoint / "model.safetensors")
    backbone = read_checkpoint(checkpoint).load_backbone()
    table = np.array(backbone.token_embedding.embeddings)
    assert np.array_equal(table, weights["embeddings.word_embeddings.weight"])
    pooler = np.array(backbone.pooled_dense.kernel)
    assert np.array_equal(pooler, weights["pooler.dense.weight"].T)
    assert backbone.dtype == "float32"


@pytest.mark.parametrize("kept", [0.9, 0.0001])
def test_load_preset_truncated_weights_raise(checkpoint, kept):
    path = checkpoint / "model.safetensors"
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])
    with pytest.raises(
        ModelFileError, match=r"safetensors' is damaged: .*Copy it agai"
    ):
        load_preset(str(checkpoint))


@pytest.mark.parametrize("content", [b"", b"\xff" * 100, b"PK\x03\x04" * 20])
def test_load_preset_garbage_weights_raise(checkpoint, content):
    (checkpoint / "model.safetensors").write_bytes(content)
    with pytest.raises(ModelFileError, match=r"model\.safetensors' is damaged: "):
        load_preset(str(checkpoint))


@pytest.mark.parametrize("model_type", ["gpt2", "electra", None])
def test_load_preset_other_architecture_raises(checkpoint, edit_config, model_type):
    edit_config(checkpoint, model_type=model_type)
    with pytest.raises(
        UnsupportedModelError,
        match=rf"of the architecture {model_type!r}\. Supported are the encoders bert,",
    ):
        load_preset(str(checkpoint))


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        (
            {"hidden_act": "relu"},
            "has 'hidden_act' 'relu'; keras-nlp builds only 'gelu'",
        ),
        ({"position_embedding_type": "relative_key"}, "builds only 'absolute'"),
        ({"is_decoder": True}, "has 'is_decoder' True"),
    ],
)
def test_load_preset_what_keras_nlp_ignores_raises(
    checkpoint, edit_config, entries, message
):
    edit_config(checkpoint, **entries)
    with pytest.raises(UnsupportedModelError, match=message):
        load_preset(str(checkpoint))


@pytest.mark.parametrize("value", [None, 0, "9", True])
def test_load_preset_size_that_is_none_raises(checkpoint, edit_config, value):
    edit_config(checkpoint, vocab_size=value)
    with pytest.raises(
        ModelFileError, match=f"must say 'vocab_size', .* got {value!r}"
    ):
        load_preset(str(checkpoint))


@pytest.mark.parametrize("content", ["", "{", "[1]", "\x00"])
def test_load_preset_damaged_config_raises(checkpoint, content):
    (checkpoint / "config.json").write_text(content)
    with pytest.raises(
        ModelFileError, match=r"config\.json' (cannot be read|must hold)"
    ):
        load_preset(str(checkpoint))


def test_load_preset_empty_folder_raises(tmp_path):
    with pytest.raises(ModelFileError, match=r"config\.json' cannot be read as JSON"):
        load_preset(str(tmp_path))


def test_load_preset_without_weights_raises(checkpoint):
    (checkpoint / "model.safetensors").unlink()
    with pytest.raises(
        ModelFileError, match=r"no weights: 'model\.safetensors' is miss"
    ):
        load_preset(str(checkpoint))


def test_load_preset_pickled_weights_raise(checkpoint):
    (checkpoint / "model.safetensors").rename(checkpoint / "pytorch_model.bin")
    with pytest.raises(
        UnsupportedModelError, match=r"bin' is a pickle, .*safe_serialization=True"
    ):
        load_preset(str(checkpoint))


def test_load_preset_sharded_weights_load(checkpoint):
    (checkpoint / "model.safetensors").rename(checkpoint / "model-1-of-1.safetensors")
    from safetensors import safe_open

    with safe_open(checkpoint / "model-1-of-1.safetensors", "np") as file:
        weight_map = dict.fromkeys(file.keys(), "model-1-of-1.safetensors")
    index = checkpoint / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": weight_map}))
    assert read_checkpoint(checkpoint).load_backbone().num_layers == 1
    index.write_text(json.dumps({"weight_map": {"a": "../x.safetensors"}}))
    with pytest.raises(ModelFileError, match="which is not in its folder"):
        read_checkpoint(checkpoint)


@pytest.mark.parametrize("entries", [{"vocab_size": 12}, {"num_hidden_layers": 2}])
def test_load_backbone_weights_of_another_shape_raise(checkpoint, edit_config, entries):
    edit_config(checkpoint, **entries)
    with pytest.raises(ModelFileError, match="do not load into a BertBackbone: "):
        read_checkpoint(checkpoint).load_backbone()


def test_load_backbone_config_without_a_key_raises(checkpoint, edit_config):
    edit_config(checkpoint, num_attention_heads=None)
    with pytest.raises(ModelFileError, match="BertBackbone: .*num_attention_heads"):
        read_checkpoint(checkpoint).load_backbone()


def test_load_preset_more_ids_than_rows_raises(checkpoint):
    with (checkpoint / "vocab.txt").open("a") as file:
        file.write("one\ntwo\n")
    with pytest.raises(
        ModelFileError, match="largest id is 10 and the token table has 9 rows"
    ):
        load_preset(str(checkpoint))
