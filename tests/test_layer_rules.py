"""Tests of the choice of layers."""

import pytest

from tfcompress.errors import InvalidValueError
from tfcompress.layer_rules import LayerRules

LAYERS = {"stem": "Conv2D", "block_1": "Conv2D", "block_2": "Dense", "head": "Dense"}


def test_plan_without_rules_treats_all_by_default():
    assert LayerRules().plan(LAYERS) == {name: {} for name in LAYERS}


def test_plan_exact_name_beats_regex_beats_type():
    rules = LayerRules({"Dense": None, "block_.*": {"a": 1}, "block_2": {"a": 2}})
    assert rules.plan(LAYERS) == {
        "stem": {},
        "block_1": {"a": 1},
        "block_2": {"a": 2},
        "head": None,
    }


def test_plan_first_matching_regex_wins():
    rules = LayerRules({"b.*1": {"a": 1}, "block_.*": {"a": 2}})
    assert rules.plan(LAYERS)["block_1"] == {"a": 1}
    assert rules.plan(LAYERS)["block_2"] == {"a": 2}


def test_plan_rule_overruled_everywhere_is_no_error():
    rules = LayerRules({"head": None, "he.d": {"a": 1}})
    assert rules.plan(LAYERS)["head"] is None


def test_plan_rule_without_match_raises_and_names_close_ones():
    with pytest.raises(InvalidValueError, match=r"'bloc_1' matches no layer.*block_1"):
        LayerRules({"bloc_1": None}).plan(LAYERS)


def test_plan_partial_regex_does_not_match():
    with pytest.raises(InvalidValueError, match="matches no layer"):
        LayerRules({"block": None}).plan(LAYERS)


def test_rules_bad_regex_raises():
    with pytest.raises(InvalidValueError, match="neither a layer's name nor a regular"):
        LayerRules({"a(": None})


def test_rules_bad_value_raises():
    with pytest.raises(InvalidValueError, match=r"must be None .* got 3"):
        LayerRules({"stem": 3})


def test_rules_key_that_is_no_text_raises():
    with pytest.raises(InvalidValueError, match="must be a layer's name.*got 3"):
        LayerRules({3: None})
