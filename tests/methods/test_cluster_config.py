"""The limits of `ClusterConfig`, each with its message."""

import pytest

from tfcompress.errors import InvalidValueError
from tfcompress.layer_rules import LayerRules
from tfcompress.methods import ClusterConfig


@pytest.mark.parametrize("num_clusters", [0, 1, 257, 2.0, True])
def test_config_num_clusters_outside_limits_raises(num_clusters):
    with pytest.raises(InvalidValueError, match="num_clusters must be .* 2 to 256"):
        ClusterConfig(num_clusters=num_clusters)


@pytest.mark.parametrize("num_clusters", [2, 256])
def test_config_num_clusters_at_limits_holds(num_clusters):
    assert ClusterConfig(num_clusters=num_clusters).num_clusters == num_clusters


def test_config_unknown_init_raises_and_lists_choices():
    with pytest.raises(InvalidValueError, match="one of kmeans, linear.*got 'best'"):
        ClusterConfig(centroid_init="best")


def test_config_rule_with_unknown_setting_raises():
    with pytest.raises(InvalidValueError, match="sets 'sparsity'"):
        ClusterConfig(layers=LayerRules({"a": {"sparsity": 0.5}}))


def test_config_rule_with_bad_value_raises():
    with pytest.raises(InvalidValueError, match="num_clusters must be"):
        ClusterConfig(layers=LayerRules({"a": {"num_clusters": 1}}))


def test_config_refresh_steps_of_zero_raises():
    with pytest.raises(InvalidValueError, match="refresh_steps must be .* at least 1"):
        ClusterConfig(refresh_steps=0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"granularity": "row"}, "granularity must be one of per_tensor, .*got 'row'"),
        ({"block_size": 1}, "block_size must be a whole number of at least 2, got 1"),
        ({"block_size": 64, "granularity": "per_channel"}, "block_size=64 gives a"),
        ({"sensitivity": "hessian"}, "sensitivity must be one of fisher, got 'hess"),
        ({"sensitivity_examples": 0}, "sensitivity_examples must be .* at least 1"),
        (
            {"sensitivity": "fisher", "centroid_init": "linear"},
            "centroid_init='linear'",
        ),
        ({"keep_zeros": 1}, "keep_zeros must be True or False, got 1"),
        ({"finetune": None}, "finetune must be True or False, got None"),
    ],
)
def test_config_value_that_cannot_be_used_raises(options, message):
    with pytest.raises(InvalidValueError, match=message):
        ClusterConfig(**options)


def test_config_rule_may_give_blocks_to_one_layer():
    rules = LayerRules({"a": {"block_size": 4, "granularity": "per_tensor"}})
    assert ClusterConfig(granularity="per_channel", layers=rules).layers == rules
