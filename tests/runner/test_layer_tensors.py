"""Tests that weights are found in a file by what they hold, or not at all."""

import numpy as np
import pytest

from tfcompress.runner.layer_tensors import find_tensors

RNG = np.random.default_rng(0)
FIRST, SECOND = RNG.normal(size=(2, 16, 16)).astype(np.float32)
FACTORS = RNG.uniform(0.5, 2, 16).astype(np.float32) * np.resize([1, -1], 16)


def test_find_tensors_tells_weights_of_one_size_apart():
    tensors = {"p": SECOND.T.copy(), "q": FIRST.reshape(4, 64), "r": FIRST[:8]}
    found = find_tensors({"a": FIRST, "b": SECOND}, tensors)
    assert found == {"a": "q", "b": "p"}


def test_find_tensors_finds_a_folded_weight_and_gives_no_tensor_twice():
    """The first layer's few values are gone from the file, the second's are there."""
    tensors = {"bn/mul": (FIRST * FACTORS).T.copy(), "b/MatMul": SECOND.T.copy()}
    found = find_tensors({"a": FIRST, "b": SECOND}, tensors)
    assert found == {"a": "bn/mul", "b": "b/MatMul"}


def test_find_tensors_finds_a_folded_convolution():
    kernel = RNG.normal(size=(3, 3, 4, 16)).astype(np.float32)
    other = RNG.normal(size=kernel.shape).astype(np.float32)
    moved = (kernel * FACTORS).transpose(3, 0, 1, 2)
    assert find_tensors({"a": kernel}, {"x": other, "y": moved}) == {"a": "y"}


def test_find_tensors_finds_float16():
    assert find_tensors({"a": FIRST}, {"x": FIRST.T.astype(np.float16)}) == {"a": "x"}


def test_find_tensors_finds_sorted_gates():
    gates = np.concatenate([SECOND, FIRST], axis=1)[None]
    kernel = np.concatenate([FIRST, SECOND], axis=1)
    assert find_tensors({"kernel": kernel}, {"W": gates}) == {"kernel": "W"}


@pytest.mark.parametrize("levels", [127, 7])
def test_find_tensors_finds_integers_but_for_their_scales(levels):
    scales = np.abs(FIRST).max(axis=0) / levels
    integers = np.rint(FIRST / scales).astype(np.int8)
    other = np.rint(SECOND / np.abs(SECOND).max() * levels).astype(np.int8)
    tensors = {"x": other, "y": integers.T}
    assert find_tensors({"a": FIRST}, tensors) == {"a": "y"}


def test_find_tensors_takes_no_bias_of_as_many_elements():
    """Of the integers of a small kernel; the bias comes first in the file."""
    kernel = FIRST[:, :4]
    bias = RNG.normal(size=kernel.size).astype(np.float32)
    integers = np.rint(kernel / np.abs(kernel).max() * 127).astype(np.int8)
    tensors = {"bias": bias, "kernel": integers.T}
    assert find_tensors({"end": kernel}, tensors) == {"end": "kernel"}


def test_find_tensors_what_is_not_there_is_none():
    assert find_tensors({"a": FIRST}, {"x": SECOND}) == {"a": None}
    assert find_tensors({"a": FIRST}, {"x": FIRST[:8]}) == {"a": None}
    assert find_tensors({"a": FIRST}, {}) == {"a": None}


def test_find_tensors_equal_weights_share_what_a_converter_wrote_once():
    both = {"a": FIRST, "b": FIRST.copy()}
    assert find_tensors(both, {"x": FIRST}) == {"a": "x", "b": "x"}
    tensors = {"x": FIRST, "y": FIRST.T}
    assert find_tensors(both, tensors) == {"a": "x", "b": "y"}


def test_find_tensors_of_zeros_alone_are_not_taken_for_another():
    zeros = np.zeros_like(FIRST)
    assert find_tensors({"a": zeros}, {"x": FIRST}) == {"a": None}
    assert find_tensors({"a": FIRST}, {"x": zeros}) == {"a": None}
