"""A tiny BERT checkpoint in Hugging Face format, as PyTorch would have written it."""

import json

import numpy as np
import pytest

VOCABULARY = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    "good",
    "bad",
    "film",
    "##s",
]
WIDTH, HIDDEN, POSITIONS, LAYERS = 4, 8, 16, 1
CONFIG = {
    "model_type": "bert",
    "vocab_size": len(VOCABULARY),
    "hidden_size": WIDTH,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 2,
    "intermediate_size": HIDDEN,
    "max_position_embeddings": POSITIONS,
    "type_vocab_size": 2,
    "hidden_act": "gelu",
}


def tensors():
    """Returns Hugging Face's names and random values; matrices are (out, in)."""
    layer = "encoder.layer.0."
    shapes = {
        "embeddings.word_embeddings.weight": (len(VOCABULARY), WIDTH),
        "embeddings.position_embeddings.weight": (POSITIONS, WIDTH),
        "embeddings.token_type_embeddings.weight": (2, WIDTH),
        "embeddings.LayerNorm.weight": (WIDTH,),
        "embeddings.LayerNorm.bias": (WIDTH,),
        layer + "attention.output.LayerNorm.weight": (WIDTH,),
        layer + "attention.output.LayerNorm.bias": (WIDTH,),
        layer + "output.LayerNorm.weight": (WIDTH,),
        layer + "output.LayerNorm.bias": (WIDTH,),
    }
    dense = {
        layer + "attention.self.query": (WIDTH, WIDTH),
        layer + "attention.self.key": (WIDTH, WIDTH),
        layer + "attention.self.value": (WIDTH, WIDTH),
        layer + "attention.output.dense": (WIDTH, WIDTH),
        layer + "intermediate.dense": (HIDDEN, WIDTH),
        layer + "output.dense": (WIDTH, HIDDEN),
        "pooler.dense": (WIDTH, WIDTH),
    }
    for name, shape in dense.items():
        shapes |= {f"{name}.weight": shape, f"{name}.bias": shape[:1]}
    random = np.random.RandomState(0)
    return {
        name: random.normal(size=shape).astype(np.float32)
        for name, shape in shapes.items()
    }


@pytest.fixture
def checkpoint(tmp_path):
    """Path of a folder with config.json, model.safetensors and vocab.txt."""
    from safetensors.numpy import save_file

    folder = tmp_path / "checkpoint"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(CONFIG))
    (folder / "vocab.txt").write_text("\n".join(VOCABULARY) + "\n")
    save_file(tensors(), folder / "model.safetensors")
    return folder


@pytest.fixture
def edit_config():
    """Function: changes entries of a folder's config.json; None removes one."""

    def edit(folder, name="config.json", **entries):
        path = folder / name
        config = json.loads(path.read_text()) | entries
        kept = {key: value for key, value in config.items() if value is not None}
        path.write_text(json.dumps(kept))

    return edit
