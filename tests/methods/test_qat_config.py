"""The limits of `QatConfig`, each with its message."""

import pytest

from tfcompress.errors import InvalidValueError
from tfcompress.layer_rules import LayerRules
from tfcompress.methods import QatConfig


def test_config_defaults_hold():
    config = QatConfig()
    assert (config.scheme, config.weight_bits) == ("dynamic_range", 8)
    assert not config.is_static
    assert QatConfig("static_range").is_static


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"scheme": "int8"}, "one of dynamic_range, static_range, got 'int8'"),
        ({"activations": "some"}, "one of products, all, got 'some'"),
        ({"weight_bits": 6}, "weight_bits must be 8 or 4, got 6"),
        ({"weight_bits": True}, "weight_bits must be 8 or 4, got True"),
        ({"granularity": "per_block"}, "one of per_channel, per_tensor, got"),
        ({"calibration_examples": 0}, "calibration_examples must be .* at least 1"),
        ({"range_estimator": "mse"}, "one of min_max, percentile, got 'mse'"),
        ({"freeze": 1.5}, r"freeze must be a fraction of the steps in \[0, 1\]"),
        ({"freeze": "0.2"}, "freeze must be a fraction"),
        ({"seed": -1}, "seed must be a whole number of at least 0, got -1"),
        ({"finetune": 1}, "finetune must be True or False, got 1"),
    ],
)
def test_config_value_outside_limits_raises(fields, message):
    with pytest.raises(InvalidValueError, match=message):
        QatConfig(**fields)


@pytest.mark.parametrize("freeze", [0, 0.0, 1, 1.0])
def test_config_freeze_at_limits_holds(freeze):
    assert QatConfig(freeze=freeze).freeze == freeze


def test_config_rule_with_unknown_setting_raises_and_lists_settings():
    with pytest.raises(InvalidValueError, match="sets 'scheme'.*weight_bits, granular"):
        QatConfig(layers=LayerRules({"a": {"scheme": "static_range"}}))


def test_config_rule_with_bad_value_raises():
    with pytest.raises(InvalidValueError, match="weight_bits must be 8 or 4, got 2"):
        QatConfig(layers=LayerRules({"a": {"weight_bits": 2}}))
