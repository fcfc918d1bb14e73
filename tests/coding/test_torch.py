"""Tests of the coding pass on ONNX files that PyTorch writes."""

import numpy as np
import onnxruntime
import pytest

from tfcompress.coding import code_file

torch = pytest.importorskip(
    "torch", reason="PyTorch is not installed: pip install 'tfcompress[torch]'"
)
pytest.importorskip(
    "onnxscript", reason="onnxscript is not installed: pip install 'tfcompress[torch]'"
)


def _cluster(model, num_values=16):
    """Rounds every matrix of a model to a few values of its own."""
    with torch.no_grad():
        for weights in model.parameters():
            if weights.dim() > 1:
                edges = torch.linspace(-1, 1, num_values) * weights.abs().max()
                nearest = (weights[..., None] - edges).abs().argmin(-1)
                weights.copy_(edges[nearest])


class _Classifier(torch.nn.Module):
    """Embedding, LSTM, and a dense layer with a transposed weight."""

    def __init__(self):
        super().__init__()
        self.embedding = torch.nn.Embedding(500, 32)
        self.lstm = torch.nn.LSTM(32, 48, batch_first=True)
        self.dense = torch.nn.Linear(48, 64)

    def forward(self, tokens):
        sequence, _ = self.lstm(self.embedding(tokens))
        return self.dense(sequence[:, -1])


def _convolutions():
    return torch.nn.Sequential(
        torch.nn.Conv2d(3, 32, 3, padding=1),
        torch.nn.BatchNorm2d(32),
        torch.nn.ReLU(),
        torch.nn.Conv2d(32, 64, 3, stride=2),
        torch.nn.Flatten(),
        torch.nn.Linear(64 * 7 * 7, 40),
    )


@pytest.mark.parametrize("external_data", [False, True])
@pytest.mark.parametrize(
    ("build", "example"),
    [
        (_Classifier, np.arange(24).reshape(2, 12)),
        (_convolutions, np.linspace(-1, 1, 1536, dtype=np.float32)),
    ],
    ids=["lstm", "convolutions"],
)
def test_code_file_of_torch_gives_the_same_bits(
    build, example, external_data, tmp_path
):
    torch.manual_seed(0)
    model = build().eval()
    _cluster(model)
    inputs = example if example.ndim == 2 else example.reshape(2, 3, 16, 16)
    source, target = tmp_path / "model.onnx", tmp_path / "coded.onnx"
    torch.onnx.export(
        model,
        (torch.from_numpy(inputs),),
        source,
        dynamo=True,
        external_data=external_data,
        input_names=["x"],
    )
    assert (tmp_path / "model.onnx.data").exists() == external_data
    result = code_file(source, target)
    assert result.is_coded
    assert result.compression_ratio > 2
    dense, coded = (
        onnxruntime.InferenceSession(path).run(None, {"x": inputs})
        for path in (source, target)
    )
    assert [output.tobytes() for output in dense] == [o.tobytes() for o in coded]
