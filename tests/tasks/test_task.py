"""Tasks: which models and data they fit, and what they are made of."""

import keras
import numpy as np
import pytest
import tf_keras

from tfcompress.data.dataset import Split
from tfcompress.errors import InvalidValueError, UnsupportedModelError
from tfcompress.tasks import (
    ClassHead,
    ValueHead,
    classification,
    head_from_json,
    regression,
    several_outputs,
)
from tfcompress.tasks.task import Task

X = np.float32([[0.5, 1, -1], [1, 0, 2], [2, 2, 2], [-1, 0, 1]])
KINDS = ["a", "b", "c"]
BOTH = several_outputs(
    {"kind": classification(KINDS), "price": regression(unit="EUR")},
    weights={"price": 0.5},
    primary="price.rmse",
)


def model_of(library, **units):
    """A model with an output of each name; their activations are none."""
    inputs = library.Input((3,), name="x")
    outputs = [
        library.layers.Dense(n, name=name, kernel_initializer="ones")(inputs)
        for name, n in units.items()
    ]
    return library.Model(inputs, outputs if len(outputs) > 1 else outputs[0], name="m")


def split_of(**targets):
    return Split({"x": X}, targets)


def test_several_outputs_name_their_metrics_after_themselves():
    assert list(BOTH.metrics) == [
        "kind.accuracy",
        "kind.macro_f1",
        "price.rmse",
        "price.mae",
        "price.r2",
    ]
    assert BOTH.weights == {"kind": 1.0, "price": 0.5}
    assert BOTH.metrics[BOTH.primary].unit == "EUR"
    assert list(classification(KINDS).metrics) == ["accuracy", "macro_f1"]


def test_heads_are_those_of_the_model():
    kind, price = BOTH.heads(model_of(keras, kind=3, price=1))
    assert kind == ClassHead(name="kind", labels=tuple(KINDS), activation="softmax")
    assert price == ValueHead(name="price")
    for head in (kind, price):
        assert head_from_json(head.to_json()) == head


@pytest.mark.parametrize("library", [keras, tf_keras], ids=["keras", "tf_keras"])
def test_loss_of_each_is_what_is_compiled(library):
    """By hand for the price; the compiled losses for the sum of both."""
    model = model_of(library, kind=3, price=1)
    targets = {
        "kind": np.int32([0, 1, 2, 0]),
        "price": np.float32([[1], [2], [3], [4]]),
    }
    kind, price = model(X)
    each = BOTH.objective.of_each(model, library)(targets, [kind, price])
    compiled = BOTH.objective.compiled(model, library)
    losses = [
        float(loss(truth, output))
        for loss, truth, output in zip(
            compiled["loss"], targets.values(), (kind, price), strict=True
        )
    ]
    squares = (X.sum(axis=1) - targets["price"][:, 0]) ** 2
    assert losses[1] == pytest.approx(squares.mean(), rel=1e-6)
    assert compiled["loss_weights"] == [1.0, 0.5]
    assert np.mean(each) == pytest.approx(losses[0] + 0.5 * losses[1], rel=1e-5)


def test_objectives_that_differ_have_other_keys():
    tasks = (
        classification(KINDS),
        regression(name="labels"),
        BOTH,
        several_outputs({"kind": classification(KINDS), "price": regression()}),
    )
    assert len({task.objective.key() for task in tasks}) == len(tasks)
    assert BOTH.objective.key() == BOTH.objective.key()


def test_score_gives_the_scores_of_every_metric():
    decisions = {"kind": np.int32([0, 1]), "price": np.float32([[1], [3]])}
    scores = BOTH.score(decisions, {"kind": [0, 2], "price": [1.0, 1.0]})
    assert scores["kind.accuracy"].tolist() == [[1, 1], [0, 1]]
    assert scores["price.rmse"].tolist() == [[0, 1], [4, 1]]


@pytest.mark.parametrize(
    ("task", "units", "targets", "message"),
    [
        (
            classification(KINDS),
            {"end": 4},
            {"labels": np.int32([0, 1, 2, 0])},
            r"'m' puts out \(None, 4\), and the data has 3 classes: a, b, c\. Give",
        ),
        (
            regression(name="price"),
            {"end": 2},
            {"price": np.ones(4)},
            r"'m' puts out \(None, 2\), and the target 'price' has 1 numbers for each",
        ),
        (
            regression(name="price"),
            {"kind": 3, "price": 1},
            {"price": np.ones(4)},
            r"has 2 outputs \(kind, price\), and the task has 1 \(price\)",
        ),
        (
            BOTH,
            {"price": 1, "kind": 3},
            {"kind": np.int32([0, 1, 2, 0]), "price": np.ones(4)},
            "the outputs price, kind, and the task kind, price. Name them alike",
        ),
    ],
)
def test_model_that_does_not_fit_the_task_raises(task, units, targets, message):
    with pytest.raises(UnsupportedModelError, match=message):
        task.check_model(model_of(keras, **units), split_of(**targets))


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        ({"price": np.ones(4)}, "an output 'kind', and the data gives the targets pri"),
        (
            {"kind": np.int32([0, 1, 3, 0]), "price": np.ones(4)},
            "'kind' holds labels from 0 to 3, and the task has 3 classes, from 0 to 2",
        ),
        (
            {"kind": np.float32([0, 1, 2, 0]), "price": np.ones(4)},
            r"'kind' of classes needs whole numbers of shape \(examples,\), got",
        ),
    ],
)
def test_data_that_does_not_fit_the_task_raises(targets, message):
    with pytest.raises(InvalidValueError, match=message):
        BOTH.check_model(model_of(keras, kind=3, price=1), split_of(**targets))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: classification(["a"]), "needs at least two classes, got 1"),
        (lambda: Task(()), r"needs outputs of different names, got \[\]"),
        (
            lambda: regression(name="price", metrics=()),
            "Output 'price' of the task has no metric to be scored by",
        ),
        (
            lambda: several_outputs({"kind": BOTH}),
            "The task of output 'kind' has 2 outputs itself",
        ),
        (
            lambda: several_outputs({"a": regression()}, weights={"b": 1}),
            "The loss weight of 'b' is of no output; the outputs are a",
        ),
        (
            lambda: several_outputs({"a": regression()}, primary="wer"),
            "primary metric 'wer' is none of the task's: rmse, mae, r2",
        ),
    ],
)
def test_task_that_cannot_be_raises(make, message):
    with pytest.raises(InvalidValueError, match=message):
        make()
