"""Tests of recipes as text, configs and JSON."""

import json

import pytest

from tfcompress.errors import InvalidValueError
from tfcompress.layer_rules import LayerRules
from tfcompress.methods import ClusterConfig
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


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ("clustr(16)", "Unknown method 'clustr'.*Did you mean 'cluster'.*Choices"),
        ("cluster(16", "cannot be read"),
        ("cluster(16)-cluster(8)", "cannot be read"),
        ("cluster(__import__('os'))", "cannot be read"),
        ("cluster(16, 'linear')", "more than one unnamed argument"),
        ("cluster(number=16)", "no field 'number'.*Fields: num_clusters"),
        ("cluster(16)+cluster(8)", "has the step 'cluster' twice"),
        ("cluster(1)", "num_clusters must be a whole number from 2 to 256, got 1"),
        ([3], "must be a config or a dict with 'method', got 3"),
        ([{"num_clusters": 3}], "a dict with 'method'"),
    ],
)
def test_recipe_that_cannot_be_followed_raises(recipe, message):
    with pytest.raises(InvalidValueError, match=message):
        parse_recipe(recipe)
