"""Tests of the settings of pruning."""

import math

import pytest

from tfcompress.errors import InvalidValueError
from tfcompress.layer_rules import LayerRules
from tfcompress.methods import PruneConfig


@pytest.mark.parametrize(
    "sparsity", [0, 0.0, 1, 1.0, -0.5, math.nan, "0.5", True, None]
)
def test_config_sparsity_outside_limits_raises(sparsity):
    message = "sparsity must be a fraction above 0 and below 1 .0.8 for 80%., got"
    with pytest.raises(InvalidValueError, match=message):
        PruneConfig(sparsity)


@pytest.mark.parametrize("sparsity", [1e-6, 0.999999])
def test_config_sparsity_inside_limits_holds(sparsity):
    assert PruneConfig(sparsity).sparsity == sparsity


BAD = {
    "criterion": (
        {"criterion": "l3"},
        "criterion must be one of l1, fisher, random, got 'l3'",
    ),
    "structure": ({"structure": "x"}, "structure must be one of unstructured, block"),
    "scope": ({"scope": "all"}, "scope must be one of layer, global, got 'all'"),
    "schedule": ({"schedule": 1}, "schedule must be one of one_shot, constant, poly"),
    "no_pair": (
        {"structure": "block", "block_shape": 4},
        "block_shape must be two whole numbers above 0, got 4",
    ),
    "block_of_zero": (
        {"structure": "block", "block_shape": (0, 4)},
        "block_shape must be two whole numbers above 0, got .0, 4.",
    ),
    "block_without_shape": (
        {"structure": "block"},
        "'block' and a block_shape of more than one weight go together",
    ),
    "shape_without_block": (
        {"block_shape": (4, 1)},
        "go together.*got 'unstructured' and .4, 1.",
    ),
    "m_over_n": (
        {"sparsity_m_by_n": (4, 2)},
        r"sparsity_m_by_n must be \(zeros, weights of a group\).*got \(4, 2\)",
    ),
    "m_by_n_and_sparsity": (
        {"sparsity_m_by_n": (1, 4)},
        "makes 1 of 4 weights zero: sparsity must be 0.25, got 0.5",
    ),
    "m_by_n_global": (
        {"sparsity_m_by_n": (2, 4), "scope": "global"},
        "goes with structure='unstructured' and scope='layer'.*'global'",
    ),
    "m_by_n_polynomial": (
        {"sparsity_m_by_n": (2, 4), "schedule": "polynomial"},
        "'polynomial' raises the sparsity bit by bit",
    ),
    "begin": (
        {"schedule": "constant", "begin": -0.1},
        r"begin must be a fraction of the steps in \[0, 1\], got -0.1",
    ),
    "end": ({"schedule": "constant", "end": math.nan}, r"end must be .* got nan"),
    "end_first": (
        {"schedule": "constant", "begin": 0.5, "end": 0.5},
        r"end must be above begin \(0.5\), got 0.5",
    ),
    "frequency": ({"frequency": 0}, "frequency must be a whole number of at least 1"),
    "seed": ({"seed": 1.0}, "seed must be a whole number of at least 0, got 1.0"),
    "finetune": ({"finetune": "no"}, "finetune must be True or False, got 'no'"),
    "gradual_without_training": (
        {"schedule": "constant", "finetune": False},
        "it needs finetune=True",
    ),
    "end_of_one_shot": (
        {"end": 0.5},
        "end is for pruning during training, and the schedule is 'one_shot'",
    ),
}


@pytest.mark.parametrize(("options", "message"), BAD.values(), ids=BAD)
def test_config_bad_value_raises(options, message):
    with pytest.raises(InvalidValueError, match=message):
        PruneConfig(0.5, **options)


BAD_RULES = {
    "unknown": ({"num_clusters": 3}, {}, "sets 'num_clusters'.*Settings: weights, spa"),
    "global": ({"sparsity": 0.2}, {"scope": "global"}, "sets 'sparsity'.*'global'"),
    "sparsity": ({"sparsity": 2}, {}, "sparsity must be a fraction"),
    "weights": ({"weights": "bias"}, {}, "sets weights to 'bias'; it must be a list"),
    "no_weights": ({"weights": []}, {}, "sets weights to .*; it must be a list"),
    "block": ({"block_shape": (2,)}, {}, "block_shape must be two whole numbers"),
    "m_by_n": ({"sparsity_m_by_n": 2}, {}, "sparsity_m_by_n must be"),
}


@pytest.mark.parametrize(
    ("rule", "options", "message"), BAD_RULES.values(), ids=BAD_RULES
)
def test_config_bad_rule_raises(rule, options, message):
    with pytest.raises(InvalidValueError, match=message):
        PruneConfig(0.5, layers=LayerRules({"a": rule}), **options)


def test_with_rule_settings_bring_what_goes_with_them():
    config = PruneConfig(0.7, layers=LayerRules({"a": None}))
    m_by_n = config.with_rule({"sparsity_m_by_n": [1, 4], "weights": ["bias"]})
    assert (m_by_n.sparsity, m_by_n.sparsity_m_by_n) == (0.25, (1, 4))
    block = config.with_rule({"block_shape": [4, 1]})
    assert (block.structure, block.sparsity) == ("block", 0.7)
    assert block.with_rule({"block_shape": (1, 1)}).structure == "unstructured"


def test_config_lists_of_json_become_tuples():
    assert PruneConfig(0.5, sparsity_m_by_n=[2, 4]).sparsity_m_by_n == (2, 4)


@pytest.mark.parametrize(
    ("schedule", "is_gradual"),
    [("one_shot", False), ("constant", True), ("polynomial", True)],
)
def test_config_is_gradual(schedule, is_gradual):
    assert PruneConfig(0.5, schedule=schedule).is_gradual == is_gradual
