"""Tests of tfcompress.coding.structures: hints that fit, turned any way, and that do
not."""

import numpy as np
import pytest

from tfcompress.coding.structures import find_structure


def _made_from(structure):
    """Makes the flat tensor as the docstring of `Structure` says."""
    indices = structure.indices.reshape(structure.view)
    if structure.scales is not None:
        entries = structure.codebook[indices]
        return (entries * structure.scales.astype(np.float32)).reshape(-1)
    channel = np.arange(len(structure.codebook))[:, None]
    return structure.codebook[channel, indices].reshape(-1)


def _turned(weights):
    """Yields the weights as converters leave them."""
    yield weights
    yield np.ascontiguousarray(weights.T)
    yield weights.reshape(-1, weights.shape[-1])
    yield weights.reshape(1, *weights.shape)
    if weights.ndim == 4:
        yield np.ascontiguousarray(weights.transpose(3, 2, 0, 1))
        yield np.ascontiguousarray(weights.transpose(3, 0, 1, 2))


@pytest.mark.parametrize(
    ("shape", "axis"),
    [((64, 24), 0), ((24, 64), 1), ((24, 64), -1), ((6, 64, 4), 1), ((3, 3, 64, 8), 2)],
)
def test_find_structure_block_scales_however_the_weight_is_turned(
    structured, shape, axis
):
    weights, hint = structured.blocks(shape, axis)
    others = [structured.blocks(shape, axis, seed=seed)[1] for seed in (1, 2)]
    for turned in _turned(weights):
        structure = find_structure(turned, [*others, hint])
        np.testing.assert_array_equal(_made_from(structure), turned.reshape(-1))
        assert structure.scales.dtype == np.float16
        assert np.prod(structure.view) == weights.size
        assert find_structure(turned, others) is None


@pytest.mark.parametrize(
    ("shape", "axis"), [((64, 24), 1), ((24, 64), 0), ((3, 3, 16, 8), 3)]
)
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_find_structure_channels_however_the_weight_is_turned(
    structured, shape, axis, dtype
):
    weights, hint = structured.channels(shape, axis, dtype=dtype)
    _, other = structured.channels(shape, axis, dtype=dtype, seed=1)
    for turned in _turned(weights):
        if hint["codebook"].shape[0] not in turned.shape:
            continue
        structure = find_structure(turned, [other, hint])
        np.testing.assert_array_equal(_made_from(structure), turned.reshape(-1))
        assert find_structure(turned, [other]) is None


def test_find_structure_channels_that_became_two_dimensions(structured):
    weights, hint = structured.channels((32, 24), 1)
    heads = weights.reshape(32, 4, 6)
    structure = find_structure(heads, [hint])
    assert structure.view == (32, 24, 1)
    np.testing.assert_array_equal(_made_from(structure), heads.reshape(-1))


def test_find_structure_one_bit_off_fits_no_more(structured):
    weights, hint = structured.blocks((64, 24), 0)
    assert find_structure(weights, [hint]) is not None
    weights.view(np.uint32)[-1, -1] ^= 1
    assert find_structure(weights, [hint]) is None
    weights, hint = structured.channels((64, 24), 1)
    weights.view(np.uint32)[0, 0] ^= 1
    assert find_structure(weights, [hint]) is None


def test_find_structure_block_of_scale_zero_keeps_the_signs_of_its_zeros(structured):
    weights, hint = structured.blocks((64, 24), 0)
    hint["scales"][0] = 0
    weights[:32] *= 0
    assert np.signbit(weights[:32]).any()
    structure = find_structure(weights, [hint])
    made = _made_from(structure)
    np.testing.assert_array_equal(made.view(np.uint32), weights.view(np.uint32).ravel())


def test_find_structure_wrong_dtype_size_or_kind_is_ignored(structured):
    weights, hint = structured.blocks((64, 24), 0)
    assert find_structure(weights.astype(np.float16), [hint]) is None
    assert find_structure(weights[:32], [hint]) is None
    assert find_structure(weights, [{"codebook": hint["codebook"]}]) is None
    assert find_structure(weights, [hint | {"scales": -hint["scales"]}]) is None
    wide = hint | {"scales": hint["scales"].astype(np.float32)}
    assert find_structure(weights, [wide]) is None
    assert find_structure(weights, []) is None


def test_find_structure_more_than_256_entries_is_ignored(structured):
    weights, hint = structured.channels((600, 4), 1, num_values=257)
    assert find_structure(weights, [hint]) is None
    weights, hint = structured.blocks((640, 4), 0, num_values=257)
    assert find_structure(weights, [hint]) is None


@pytest.mark.parametrize(
    "hint",
    [
        {"minimum": np.float32(-1), "maximum": np.float32(1)},
        {"scale": np.float32(0.5), "bits": 8},
        {"codebook": np.float32([]), "axis": 0},
    ],
)
def test_find_structure_hint_without_a_codebook_is_passed_over(structured, hint):
    weights, known = structured.channels((64, 24), 1)
    assert find_structure(weights, [hint]) is None
    assert find_structure(weights, [hint, known]) is not None


def test_find_structure_integers_show_the_codebooks_of_their_channels():
    weights = np.int8([[1, -1, 1], [2, 2, 9], [-3, 4, -3], [5, 5, 7]])
    structure = find_structure(weights, ())
    assert structure.view == (1, 4, 3)
    # In the order of their bits as unsigned integers.
    assert structure.codebook.tolist() == [[1, -1], [2, 9], [4, -3], [5, 7]]
    assert _made_from(structure).tolist() == weights.reshape(-1).tolist()
    turned = np.ascontiguousarray(weights.T)
    structure = find_structure(turned, ())
    assert structure.view == (3, 4, 1)
    assert _made_from(structure).tolist() == turned.reshape(-1).tolist()


@pytest.mark.parametrize(
    "integers",
    [
        np.int8([[1, 2], [2, 1]]),  # no fewer in a channel than in the whole
        np.int8([1, 2, 3, 4]),
        np.arange(12, dtype=np.int32).reshape(3, 4),
        np.zeros((0, 4), np.int8),
    ],
)
def test_find_structure_other_integers_show_none(integers):
    hint = {"codebook": np.float32([[1, 2], [3, 4]]), "axis": 0}
    assert find_structure(integers, [hint]) is None
