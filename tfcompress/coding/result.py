"""What the coding pass did to a file: a row for every constant that holds weights."""

import dataclasses

from tfcompress.coding.kinds import BlockCodebook, ChannelCodebook
from tfcompress.verification import SKIPPED, Verification


@dataclasses.dataclass(frozen=True, kw_only=True)
class CodedTensor:
    """One constant of a model file, before and after.

    Attributes:
        name: the tensor's name in the file.
        shape: its shape.
        dtype: name of its element type, such as "float32".
        code: one of `kinds.CODE_KINDS`, such as "dense" or "bitmap_codebook".
        num_bits: bits of an index; None where there are no indices.
        num_values: distinct values, told apart by their bits, zero included; None if
            there are more than 257. Of a tensor with block scales, or with a codebook
            for each channel, that is coded so: entries of a codebook.
        num_nonzero: elements that are not zero.
        dense_bytes: bytes before.
        coded_bytes: bytes after, decoder included; of a dense tensor `dense_bytes`.
        reason: why it was left dense, else None.
        is_slower: it is coded, and its layer runs several times slower for it: in
            TFLite, whose delegate wants constant weights for some layers.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    code: str
    num_bits: int | None
    num_values: int | None
    num_nonzero: int
    dense_bytes: int
    coded_bytes: int
    reason: str | None = None
    is_slower: bool = False

    @classmethod
    def from_code(cls, name, code, *, dtype=None):
        """Makes the row of a tensor from its `codes.Code`.

        Args:
            name: the tensor's name in the file.
            code: what `codes.encode` returned.
            dtype: name of the element type where numpy's is another, as for bfloat16.
        """
        return cls(
            name=name,
            shape=tuple(int(size) for size in code.shape),
            dtype=dtype or code.dtype.name,
            code=code.kind,
            num_bits=code.num_bits,
            num_values=_num_values(code),
            num_nonzero=code.num_nonzero,
            dense_bytes=code.dense_bytes,
            coded_bytes=code.coded_bytes,
            reason=code.reason,
        )

    def left_dense(self, reason):
        """Returns the row of the same tensor left as it is for `reason`."""
        return dataclasses.replace(
            self,
            code="dense",
            num_bits=None,
            coded_bytes=self.dense_bytes,
            reason=reason,
            is_slower=False,
        )

    def to_json(self):
        """Returns the row as a dict of JSON values."""
        return {**dataclasses.asdict(self), "shape": list(self.shape)}


def _num_values(code):
    if isinstance(code.values, ChannelCodebook | BlockCodebook):
        return code.values.codebook.shape[-1]
    return code.num_values


@dataclasses.dataclass(frozen=True, kw_only=True)
class CodingResult:
    """What coding a file did.

    Attributes:
        format: "tflite", "onnx" or "openvino".
        source_bytes: bytes of the model as it was, all its files together.
        target_bytes: bytes of the model as written, all its files together.
        tensors: a row for every weight constant, in the order of the file.
        verification: `Verification` of the file beside its source.
    """

    format: str
    source_bytes: int
    target_bytes: int
    tensors: tuple[CodedTensor, ...]
    verification: Verification = SKIPPED

    @property
    def is_coded(self):
        """False where nothing paid and the target is a copy of the source."""
        return any(tensor.code != "dense" for tensor in self.tensors)

    @property
    def compression_ratio(self):
        """Bytes of the source / bytes of the target; above 1 is better."""
        return self.source_bytes / self.target_bytes
