"""What holds for every method: one signature, one report, the model left as it was."""

import functools
import itertools

import numpy as np
import pytest
import tf_keras

from tfcompress.bridge import to_tf_keras
from tfcompress.compress import compress
from tfcompress.compression_report import COMPRESSED
from tfcompress.errors import InvalidValueError
from tfcompress.layer_rules import LayerRules
from tfcompress.methods import (
    METHODS,
    ClusterConfig,
    PruneConfig,
    QatConfig,
    method_of,
)
from tfcompress.methods.method import CLUSTERS, INTEGER_GRID, ZEROS
from tfcompress.recipe import parse_recipe
from tfcompress.training import ArrayTraining, TrainingConfig, TrainingLog

# name -> (config of given options, members of the training beside `fit`).
CASES = {
    "cluster": (lambda **o: ClusterConfig(num_clusters=4, **o), ()),
    "cluster_fisher": (
        lambda **o: ClusterConfig(num_clusters=4, sensitivity="fisher", **o),
        ("batches", "loss"),
    ),
    "cluster_blocks": (
        lambda **o: ClusterConfig(num_clusters=4, block_size=2, **o),
        (),
    ),
    "prune": (lambda **o: PruneConfig(0.5, **o), ()),
    "prune_fisher": (
        lambda **o: PruneConfig(0.5, criterion="fisher", **o),
        ("batches", "loss"),
    ),
    "prune_gradually": (
        lambda **o: PruneConfig(0.5, schedule="polynomial", frequency=1, **o),
        ("num_steps",),
    ),
    "qat": (lambda **o: QatConfig(**o), ()),
    "qat_static": (
        lambda **o: QatConfig("static_range", calibration_examples=16, **o),
        ("batches", "num_steps"),
    ),
}
ONE_SHOT = [name for name in CASES if name != "prune_gradually"]
cases = pytest.mark.parametrize("case", CASES)


class UsersTraining:
    """A loop of a user's own on Keras's `fit`, with no more members than it is given.

    Args:
        training: `ArrayTraining` whose examples it takes.
        members: names of what it has of `training`.
    """

    def __init__(self, training, members):
        self._training = training
        for name in members:
            setattr(self, name, getattr(training, name))

    def fit(self, model, callbacks):
        loss = tf_keras.losses.BinaryCrossentropy(from_logits=True)
        model.compile(tf_keras.optimizers.SGD(0.01), loss)
        batches = list(self._training.batches(100))
        tokens = np.concatenate([inputs["tokens"] for inputs, _ in batches])
        labels = np.concatenate([labels for _, labels in batches])
        return model.fit(
            tokens,
            labels,
            batch_size=8,
            epochs=2,
            shuffle=False,
            callbacks=callbacks,
            verbose=0,
        )


def run(model, config, training):
    return method_of(config)(model, config, training)


@pytest.fixture(scope="module")
def training(make_token_dataset):
    config = TrainingConfig(epochs=2, batch_size=8, learning_rate=0.01)
    return ArrayTraining(make_token_dataset(50, 8), config)


@pytest.fixture(scope="module")
def model(make_text_model):
    return to_tf_keras(make_text_model())


@pytest.fixture(scope="module")
def fitted(model, training):
    """Function: case -> what a user's own training makes of the model, once."""

    @functools.cache
    def fit(case):
        make, members = CASES[case]
        return run(model, make(), UsersTraining(training, members))

    return fit


@cases
def test_the_model_is_left_as_it_was(case, model, fitted):
    before = [weight.copy() for weight in model.get_weights()]
    calls = [len(layer.inbound_nodes) for layer in model.layers]
    compressed, _ = fitted(case)
    assert compressed is not model
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    assert [len(layer.inbound_nodes) for layer in model.layers] == calls
    assert not model.optimizer  # never compiled


@cases
def test_the_result_has_the_same_layers_and_outputs(case, model, fitted):
    compressed, report = fitted(case)
    kinds = [(layer.name, type(layer).__name__) for layer in model.layers]
    assert [(x.name, type(x).__name__) for x in compressed.layers] == kinds
    assert compressed.output_shape == model.output_shape
    assert [w.shape for w in compressed.weights] == [w.shape for w in model.weights]
    assert compressed(np.zeros((3, 8), np.int32)).shape == (3, 1)
    # The report has every layer once, in their order, and measured what was treated.
    assert [(row.name, row.kind) for row in report.rows] == kinds
    for row in report.rows:
        assert row.requested if row.status == COMPRESSED else row.reason
    treated = {row.name for row in report.rows if row.stripped}
    assert {"embedding", "hidden", "logits"} <= treated
    assert report.training_log is None  # `fit` returned a History


@cases
def test_it_says_which_member_a_training_lacks(case, model, training):
    make, members = CASES[case]
    for name in members:
        others = [member for member in members if member != name]
        with pytest.raises(InvalidValueError, match=f"needs {name}.*UsersTraining lac"):
            run(model, make(), UsersTraining(training, others))


@pytest.mark.parametrize("case", ONE_SHOT)
def test_one_shot_changes_what_is_treated_alone(case, model, training):
    make, members = CASES[case]
    given = UsersTraining(training, members) if members else None
    compressed, report = run(model, make(finetune=False), given)
    assert report.training_log is None
    treated = {(r.name, weight) for r in report.rows for weight in r.stripped}
    for layer in model.layers:
        for weight in ("embeddings", "kernel", "bias", "gamma", "beta"):
            if not hasattr(layer, weight):
                continue
            values = getattr(compressed.get_layer(layer.name), weight).numpy()
            is_same = np.array_equal(values, getattr(layer, weight).numpy())
            assert is_same == ((layer.name, weight) not in treated)


@cases
def test_it_trains_and_the_same_seed_gives_the_same_result(case, model, training):
    config = CASES[case][0](seed=3)
    first, report = run(model, config, training)
    second, _ = run(model, config, training)
    assert isinstance(report.training_log, TrainingLog)
    assert report.training_log.epochs == 2
    bias = first.get_layer("hidden").bias.numpy()
    assert not np.array_equal(bias, model.get_layer("hidden").bias.numpy())
    for one, other in zip(first.get_weights(), second.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@cases
def test_a_rule_that_matches_no_layer_raises(case, model, training):
    config = CASES[case][0](layers=LayerRules({"hiden": None}))
    with pytest.raises(InvalidValueError, match="'hiden' matches no layer.*hidden"):
        run(model, config, training)


@cases
def test_a_rule_leaves_a_layer_alone(case, model, training):
    rules = LayerRules({"hidden": None})
    config = CASES[case][0](layers=rules, finetune=case not in ONE_SHOT)
    _, report = run(model, config, training)
    (row,) = (row for row in report.rows if row.name == "hidden")
    assert (row.status, row.reason) == ("left_alone", "a rule leaves it alone")
    assert not row.stripped


def on_a_grid_of_channels(weight):
    steps = np.abs(weight).reshape(-1, weight.shape[-1]).max(axis=0) / 127
    return np.abs(weight / steps - np.rint(weight / steps)).max() < 1e-3


HOLDS = {
    ZEROS: lambda weight: np.mean(weight == 0) >= 0.5,
    CLUSTERS: lambda weight: len(np.unique(weight)) <= 4,
    INTEGER_GRID: on_a_grid_of_channels,
}
STEPS = {
    "prune": PruneConfig(0.5),
    "cluster": ClusterConfig(num_clusters=4),
    "qat": QatConfig(),
}


@pytest.mark.parametrize("names", itertools.permutations(STEPS, 2), ids="+".join)
def test_a_step_keeps_what_its_row_says_or_is_refused(names, make_text_model, training):
    earlier, later = (STEPS[name] for name in names)
    made = method_of(earlier).made_by(earlier)
    if not made <= method_of(later).kept_by(later):
        with pytest.raises(InvalidValueError, match="cannot hold: .* would undo what"):
            parse_recipe((earlier, later))
        return
    model = compress(make_text_model(), (earlier, later), training).model
    kernel = model.get_layer("hidden").kernel.numpy()
    for trait in made:
        assert HOLDS[trait](kernel), trait


@pytest.mark.parametrize("name", STEPS)
def test_a_step_makes_what_its_row_says(name, model, training):
    compressed, _ = run(model, STEPS[name], training)
    for trait in method_of(STEPS[name]).made_by(STEPS[name]):
        assert HOLDS[trait](weight_of(compressed)), trait
        assert not HOLDS[trait](weight_of(model))


def weight_of(model):
    return model.get_layer("hidden").kernel.numpy()


def test_every_method_has_a_case():
    assert set(STEPS) == set(METHODS)
    assert {method_of(make()).name for make, _ in CASES.values()} == set(METHODS)
