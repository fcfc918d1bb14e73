"""Tests of recipes of two steps: both properties hold, to the file as exported."""

import numpy as np
import pytest

from tfcompress.compress import check_recipe, compress
from tfcompress.errors import InvalidValueError
from tfcompress.evaluate.exported_weights import list_weights
from tfcompress.export import export_model
from tfcompress.formats import FORMATS
from tfcompress.runtime import load_session

SIZES = {"embedding": 400, "hidden": 96, "logits": 12}


@pytest.fixture
def model(make_text_model):
    return make_text_model()


def kernels(model):
    return {name: model.get_layer(name).get_weights()[0] for name in SIZES}


def row(result, name):
    return next(row for row in result.report.rows if row.name == name)


def num_zeros(array):
    return int((array == 0).sum())


@pytest.mark.parametrize("is_trained", [False, True])
def test_prune_and_cluster_keep_both(model, training, is_trained):
    pruned = compress(model, "prune(0.5)").model
    recipe = "prune(0.5)+cluster(4)"
    result = compress(model, recipe, training if is_trained else None)
    for name, kernel in kernels(result.model).items():
        np.testing.assert_array_equal(kernel == 0, kernels(pruned)[name] == 0)
        assert num_zeros(kernel) == SIZES[name] // 2
        assert len(np.unique(kernel)) <= 4
        assert not np.signbit(kernel[kernel == 0]).any()
        found = row(result, name)
        assert found.requested["sparsity"] == 0.5
        assert found.requested["num_clusters"] == 4
        (measured,) = found.stripped.values()
        assert measured["num_nonzero"] == SIZES[name] // 2
    assert result.structures["hidden", "kernel"]["codebook"].size <= 4
    assert (result.report.training_log is not None) == is_trained


@pytest.mark.parametrize("format", FORMATS)
def test_prune_and_cluster_keep_both_in_the_exported_file(
    model, training, format, tmp_path
):
    small = compress(model, "prune(0.5)+cluster(4)", training).model
    exported = export_model(small, format, tmp_path)
    found = list_weights(format, tmp_path, exported.files)
    for size in SIZES.values():
        weights = [weight for weight in found if weight.num_weights == size]
        # One of them may be the bias.
        assert any(
            weight.num_nonzero == size // 2 and weight.num_distinct_values <= 4
            for weight in weights
        )
    session = load_session(format, tmp_path, exported.files)
    tokens = np.arange(16, dtype=np.int32).reshape(2, 8)
    (output,) = session.run({"tokens": tokens}).values()
    np.testing.assert_allclose(output, small(tokens), rtol=1e-4, atol=1e-5)


def test_prune_and_cluster_keep_both_in_a_loaded_keras_file(model, tmp_path):
    import keras

    small = compress(model, "prune(0.5)+cluster(4)").model
    small.save(tmp_path / "small.keras")
    loaded = keras.models.load_model(tmp_path / "small.keras")
    for one, other in zip(small.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_zeros_of_what_clustering_leaves_alone_are_kept(model, training):
    recipe = (
        "prune(0.5, layers={'norm': {'weights': ['gamma', 'beta']}, "
        "'hidden': {'weights': ['kernel', 'bias']}})"
        "+cluster(4, layers={'embedding': None})"
    )
    result = compress(model, recipe, training)
    norm = result.model.get_layer("norm").get_weights()
    hidden = result.model.get_layer("hidden").get_weights()
    embedding = result.model.get_layer("embedding").get_weights()[0]
    assert [num_zeros(w) for w in norm] == [4, 4]
    assert [num_zeros(w) for w in hidden] == [48, 6]
    assert num_zeros(embedding) == 200
    before = model.get_layer("embedding").get_weights()[0]
    assert not np.array_equal(embedding[embedding != 0], before[embedding != 0])
    assert row(result, "embedding").reason == "cluster: a rule leaves it alone"


def test_gradual_pruning_trains_before_the_last_step_and_logs_add_up(model, training):
    recipe = "prune(0.5, schedule='polynomial', frequency=2)+cluster(4)"
    result = compress(model, recipe, training)
    assert result.report.training_log.epochs == 4
    for name, kernel in kernels(result.model).items():
        assert num_zeros(kernel) == SIZES[name] // 2


def test_mistake_in_the_last_step_is_found_before_the_first_is_trained(model):
    class Untouched:
        num_steps = 10

        def fit(self, model, callbacks=()):
            pytest.fail("trained")

    recipe = "prune(0.5, schedule='polynomial')+cluster(4, layers={'hiden': None})"
    with pytest.raises(InvalidValueError, match="'hiden' matches no layer.*hidden"):
        compress(model, recipe, Untouched())
    with pytest.raises(InvalidValueError, match="'hiden' matches no layer.*hidden"):
        check_recipe(model, recipe)


def test_check_recipe_leaves_the_model_as_it_was(model):
    before = kernels(model)
    check_recipe(model, "prune(0.5)+cluster(4)+qat")
    for name, kernel in kernels(model).items():
        np.testing.assert_array_equal(kernel, before[name])


def test_one_shot_step_in_front_of_others_does_not_train(model, training):
    result = compress(model, "prune(0.5)+cluster(4, finetune=False)", training)
    assert result.report.training_log is None
    expected = compress(model, "prune(0.5)+cluster(4)").model
    for one, other in zip(result.model.weights, expected.weights, strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy())


@pytest.mark.parametrize("is_trained", [False, True])
def test_zeros_too_few_for_a_cluster_raise(make_text_model, training, is_trained):
    # One of the embedding's 120,000 weights is zero.
    model = make_text_model(dimension=2400)
    recipe = "prune(6e-6)+cluster(4)"
    with pytest.raises(InvalidValueError, match="moves the 1 zeros .*'embedding'"):
        compress(model, recipe, training if is_trained else None)


def test_pruned_model_keeps_its_zeros_when_clustered_or_pruned_again(model, training):
    pruned = compress(model, "prune(0.5)").model
    for recipe in ("cluster(4)", "prune(0.6)", "prune(0.6, criterion='random')"):
        again = compress(pruned, recipe, training).model
        for name, kernel in kernels(again).items():
            assert (kernel[kernels(pruned)[name] == 0] == 0).all()


class _Unfitted:
    """A training that has batches and a loss, and must not be fitted."""

    def __init__(self, training):
        self.batches, self.loss = training.batches, training.loss

    def fit(self, model, callbacks=()):
        raise AssertionError("fitted")


@pytest.mark.parametrize(
    "recipe", ["", "cluster(4)", "prune(0.5, criterion='fisher')+cluster(4)"]
)
def test_compress_without_finetuning_fits_nothing(model, training, recipe):
    result = compress(model, recipe, _Unfitted(training), finetune=False)
    assert result.report.training_log is None
