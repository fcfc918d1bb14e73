"""What holds for every method of the table: plans, reports, traits, who trains."""

import functools
import itertools
import json

import numpy as np
import pytest
import tf_keras

from tfcompress.bridge import to_tf_keras
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
from tfcompress.methods.integer_grid import integer_limit
from tfcompress.methods.method import CLUSTERS, INTEGER_GRID, ZEROS
from tfcompress.recipe import parse_recipe, recipe_to_json, recipe_to_text
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
    "stock_cluster": (
        lambda **o: ClusterConfig(num_clusters=4, engine="tfmot", **o),
        (),
    ),
    "stock_prune": (lambda **o: PruneConfig(0.5, engine="tfmot", **o), ()),
    "stock_prune_gradually": (
        lambda **o: PruneConfig(
            0.5, schedule="polynomial", frequency=1, engine="tfmot", **o
        ),
        ("num_steps",),
    ),
    "stock_qat": (lambda **o: QatConfig(engine="tfmot", **o), ()),
}
CONFIGS = {name: make() for name, (make, _) in CASES.items()}
ONE_SHOT = [
    name for name, config in CONFIGS.items() if not method_of(config).trains(config)
]
KEPT = [
    (name, trait)
    for name, config in CONFIGS.items()
    for trait in (ZEROS, CLUSTERS)
    if trait in method_of(config).kept_by(config)
]
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
    # TFMOT's scheme has no Embedding.
    without = {"embedding"} if case == "stock_qat" else set()
    assert {"embedding", "hidden", "logits"} - without <= treated
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
    rules, trains = LayerRules({"hidden": None}), case not in ONE_SHOT
    _, report = run(model, CASES[case][0](layers=rules, finetune=trains), training)
    (row,) = (row for row in report.rows if row.name == "hidden")
    assert (row.status, row.reason) == ("left_alone", "a rule leaves it alone")
    assert not row.stripped


@cases
def test_a_plan_names_every_layer_and_does_nothing(case, model):
    before = [weight.copy() for weight in model.get_weights()]
    config = CONFIGS[case]
    plan = method_of(config).engine(config).plan(model, config)
    assert plan.config is config
    kinds = [(layer.name, type(layer).__name__) for layer in model.layers]
    assert [(row.name, row.kind) for row in plan.rows] == kinds
    assert not any(row.stripped for row in plan.rows)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


@cases
def test_what_was_planned_is_what_was_done(case, model, fitted):
    config = CONFIGS[case]
    plan = method_of(config).engine(config).plan(model, config)
    _, report = fitted(case)
    for planned, done in zip(plan.rows, report.rows, strict=True):
        assert (planned.status, planned.requested) == (done.status, done.requested)


@cases
def test_without_a_training_it_is_one_shot_or_says_why_not(case, model):
    config = CONFIGS[case]
    if case not in ONE_SHOT:
        with pytest.raises(InvalidValueError, match="there is none. Give compress.. a"):
            run(model, config, None)
    elif CASES[case][1]:
        with pytest.raises(InvalidValueError, match="and training is None. Give the"):
            run(model, config, None)
    else:
        one, report = run(model, config, None)
        other, _ = run(model, config, None)
        assert report.training_log is None
        for first, second in zip(one.get_weights(), other.get_weights(), strict=True):
            np.testing.assert_array_equal(first, second)


def values_of(model, report):
    """Yields the values of what was treated, with its structure."""
    for row in report.rows:
        for weight in row.stripped:
            structure = report.structures.get((row.name, weight), {})
            yield getattr(model.get_layer(row.name), weight).numpy(), structure


@cases
def test_what_it_makes_is_in_the_weights(case, fitted):
    config = CONFIGS[case]
    made = method_of(config).made_by(config)
    assert made
    for values, structure in values_of(*fitted(case)):
        if ZEROS in made:
            assert (values == 0).mean() == 0.5
        if CLUSTERS in made:
            scales = structure.get("scales", np.ones(1))
            assert len(np.unique(values)) <= 4 * scales.size
        if INTEGER_GRID in made:
            steps = values / structure["scale"]
            np.testing.assert_allclose(steps, np.round(steps), atol=1e-4)
            assert np.abs(steps).max() <= integer_limit(int(structure["bits"]))


@pytest.mark.parametrize(("case", "trait"), KEPT)
def test_it_keeps_what_it_says_it_keeps(case, model, training, trait):
    config = CONFIGS[case]
    maker = {ZEROS: PruneConfig(0.25), CLUSTERS: ClusterConfig(num_clusters=4)}[trait]
    before, report = run(model, maker, None)
    after, _ = run(before, config, training)
    for old, new in zip(
        values_of(before, report), values_of(after, report), strict=True
    ):
        if trait == ZEROS:
            assert (new[0][old[0] == 0] == 0).all()
        else:
            assert len(np.unique(new[0])) <= 4


@cases
def test_a_config_is_text_and_json_and_both_come_back(case):
    config = CASES[case][0](seed=3, layers=LayerRules({"hidden": None}))
    assert parse_recipe(recipe_to_text((config,))) == (config,)
    assert parse_recipe(json.loads(json.dumps(recipe_to_json((config,))))) == (config,)


@pytest.mark.parametrize(
    "names", itertools.permutations(CASES, 2), ids=lambda names: "+".join(names)
)
def test_an_order_of_two_steps_holds_or_is_refused_in_one_line(names):
    steps = tuple(CONFIGS[name] for name in names)
    methods = [method_of(step) for step in steps]
    made, kept = methods[0].made_by(steps[0]), methods[1].kept_by(steps[1])
    if made <= kept and methods[0] is not methods[1]:
        assert parse_recipe(steps) == steps
        return
    with pytest.raises(InvalidValueError, match="^The recipe ") as error:
        parse_recipe(steps)
    assert "\n" not in str(error.value)


def test_every_method_has_a_case():
    assert {method_of(config).name for config in CONFIGS.values()} == set(METHODS)
