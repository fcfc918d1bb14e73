"""Tests of recipes as text, configs and JSON."""

import json

import pytest

from tfcompress.errors import InvalidValueError
from tfcompress.layer_rules import LayerRules
from tfcompress.methods import ClusterConfig, PruneConfig, QatConfig
from tfcompress.recipe import parse_recipe, recipe_to_json, recipe_to_text

RULES = LayerRules({"stem": None, "Embedding": {"num_clusters": 32}})
CONFIGS = (ClusterConfig(num_clusters=8, centroid_init="linear", layers=RULES),)
TEXT = (
    "cluster(8, centroid_init='linear', "
    "layers={'stem': None, 'Embedding': {'num_clusters': 32}})"
)


def test_recipe_text_becomes_configs_and_back():
    assert parse_recipe(TEXT) == CONFIGS
    assert recipe_to_text(CONFIGS) == TEXT


def test_recipe_json_becomes_configs_and_back():
    data = json.loads(json.dumps(recipe_to_json(CONFIGS)))
    assert parse_recipe(data) == CONFIGS


def test_recipe_single_config_is_a_recipe():
    assert parse_recipe(CONFIGS[0]) == CONFIGS


@pytest.mark.parametrize("recipe", ["", "  ", (), []])
def test_recipe_empty_is_the_control(recipe):
    assert parse_recipe(recipe) == ()


def test_recipe_name_alone_takes_the_defaults():
    assert parse_recipe("cluster") == (ClusterConfig(),)


def test_recipe_of_two_steps_in_all_three_forms():
    text = "prune(0.5, sparsity_m_by_n=(2, 4), layers={'a': None})+cluster(16)"
    rules = LayerRules({"a": None})
    steps = (
        PruneConfig(0.5, sparsity_m_by_n=(2, 4), layers=rules),
        ClusterConfig(num_clusters=16),
    )
    assert parse_recipe(text) == steps
    assert recipe_to_text(steps) == text
    assert parse_recipe(json.loads(json.dumps(recipe_to_json(steps)))) == steps


def test_recipe_with_qat_in_all_three_forms():
    text = "prune(0.5)+cluster(16)+qat('static_range', weight_bits=4)"
    steps = (
        PruneConfig(0.5),
        ClusterConfig(num_clusters=16),
        QatConfig("static_range", weight_bits=4),
    )
    assert parse_recipe(text) == steps
    assert recipe_to_text(steps) == text
    assert parse_recipe(json.loads(json.dumps(recipe_to_json(steps)))) == steps
    assert parse_recipe("qat") == (QatConfig(),)


@pytest.mark.parametrize(
    "settings", ["block_size=32", "layers={'Dense': {'block_size': 32}}"]
)
def test_recipe_block_scales_before_qat_raise(settings):
    with pytest.raises(InvalidValueError, match="leave block_size out of 'cluster'"):
        parse_recipe(f"cluster(16, {settings})+qat")


@pytest.mark.parametrize(
    ("recipe", "order"),
    [
        ("cluster(8, keep_zeros=False)+prune(0.5)", r"prune\(0.5\)\+cluster"),
        ("cluster(8, block_size=4)+prune(0.5)+qat", r"prune\(0.5\)\+cluster.*\+qat"),
        ("qat+cluster(8)+prune(0.5)", r"prune\(0.5\)\+cluster.*\+qat"),
    ],
)
def test_recipe_with_two_mistakes_says_the_order_first(recipe, order):
    with pytest.raises(InvalidValueError, match=f"cannot hold: .*Write .{order}"):
        parse_recipe(recipe)


def test_recipe_qat_before_cluster_raises_and_says_the_order():
    with pytest.raises(InvalidValueError, match="'cluster' would undo what 'qat' made"):
        parse_recipe("qat+cluster(16)")


ORDER = "cannot hold: 'prune' would undo what 'cluster' made. Write "


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ("cluster(number=16)", "no field 'number'.*Fields: num_clusters"),
        ("cluster(16)+cluster(8)", "has the step 'cluster' twice"),
        ("prune(.5)+cluster(8)+prune(.6)", "has the step 'prune' twice"),
        ("cluster(16)+prune(0.5)", ORDER + r"'prune\(0.5\)\+cluster\(16\)'."),
        ("cluster(1)", "num_clusters must be a whole number from 2 to 256, got 1"),
        ("prune", "needs sparsity: write prune"),
        ("cluster(16, layers=3)", "layers must be a dict of rules .*got 3"),
        ("prune(0.5)+cluster(8, keep_zeros=False)", "prunes and then, with keep_zeros"),
        (3, "must be a text such as 'cluster.16.', a config, or a list of them, got 3"),
        ([{"method": ["a"]}], r"Unknown method \['a'\]"),
        ("cluster(16\0)", r"a mistake at character 11, '\\x00': it is no character"),
        ("prune('\ud800')", r"a mistake at character 8, '\\ud800': it is no character"),
        ("+".join(["cluster"] * 5_000), "is nested too deep, or has too many steps"),
        ("cluster(" + "-" * 20_000 + "1)", "is nested too deep, or has too many"),
        ("cluster(" + "[" * 3_000, "is nested too deep|a mistake at"),
        ("cluster(16)" + " " * 50_000, "has 50,011 characters, and at most 50,000"),
        ([3], "must be a config or a dict with 'method', got 3"),
        ([{"num_clusters": 3}], "a dict with 'method'"),
        ([{"method": "clustr"}], "Unknown method 'clustr'. Did you mean 'cluster'"),
        ([{"method": "prune", "sparity": 0.5}], "'sparity'. Did you mean 'sparsity'"),
    ],
)
def test_recipe_that_cannot_be_followed_raises(recipe, message):
    with pytest.raises(InvalidValueError, match=message):
        parse_recipe(recipe)


@pytest.mark.parametrize(
    ("recipe", "character", "place", "message"),
    [
        ("clustr(16)", 1, "'clustr(16)'", "Unknown method 'clustr'. Did you mean 'cl"),
        ("prune(0.5)+clustr(16)", 12, "'clustr(16)'", "Did you mean 'cluster'?"),
        ("  clustr", 3, "'clustr'", "Choices: cluster, prune, qat."),
        ("cluster(16", 8, "'(16'", "'(' was never closed. Write steps with '+'"),
        ("cluster(16))", 12, "')'", "unmatched ')'"),
        ("prune(0.5)+", 12, "its end", "invalid syntax"),
        ("prune(0.5) cluster(8)", 12, "'cluster(8)'", "invalid syntax"),
        ("prune(0.5)-cluster(8)", 1, "'prune(0.5)-cluster(8'", "'+' stands between"),
        ("prune(0.5)+3", 12, "'3'", "must be a method's name with its arguments"),
        ("cluster(__import__('os'))", 9, "\"__import__('os'))\"", "must be a number"),
        ("prune(nan)", 7, "'nan)'", "a value must be a number"),
        ("prune(0.5, seed=x)", 17, "'x)'", "a value must be a number"),
        ("prune(0.5, 'l1')", 12, "\"'l1')\"", "more than one unnamed argument"),
        ("prune(0.5, sparsity=1)", 12, "'sparsity=1)'", "sparsity is given twice"),
        ("prune(0.5, seed=1, seed=2)", 20, "'seed=2)'", "seed is given twice"),
        ("prune(0.5, sparisty=1)", 12, "'sparisty=1)'", "mean 'sparsity'?"),
        ("prune(\n0.5,\nsede=1)", 13, "'sede=1)'", "Did you mean 'seed'?"),
        ("prune(.5, layers={'é': x})", 24, "'x})'", "a value must be a number"),
        ("cluster(8)+prune(2)", 12, "'prune(2)'", "must be a fraction above 0"),
    ],
)
def test_recipe_with_a_mistake_is_pointed_at(recipe, character, place, message):
    with pytest.raises(InvalidValueError) as error:
        parse_recipe(recipe)
    where = f"has a mistake at character {character}, {place}: "
    assert where in str(error.value)
    assert message in str(error.value)
    assert "\n" not in str(error.value)
