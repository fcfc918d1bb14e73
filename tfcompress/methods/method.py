"""What a compression method is: a row of a table, a plan, and who trains.

A step of a recipe is planned on a model before anything is done (`Plan`), and run by
what the plan says (`Engine.run`). What it makes of the weights, and what it keeps of
that which steps before made, are traits in its row, so that orders are judged, and
properties kept, without a word about any one method.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from tfcompress.compression_report import LayerRow
from tfcompress.methods.training_needs import check_dtypes, check_training
from tfcompress.training import fit_model

# Traits: what a step can make of weights that a later step may undo.
ZEROS = "zeros"
CLUSTERS = "clusters"  # few distinct values in a tensor, or in each of its channels
BLOCK_SCALES = "block_scales"  # such values times a scale for each block of weights
INTEGER_GRID = "integer_grid"  # whole numbers times a scale


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a step will do to a model, decided before it does anything.

    Args:
        config: of the step.
        rows: a `LayerRow` for each layer, in model order, with nothing measured.
        work: what the engine that made the plan needs to follow it; only that engine
            knows its kind.
    """

    config: Any
    rows: tuple[LayerRow, ...]
    work: Any

    def row(self, layer):
        """Returns the `LayerRow` of a layer by its name."""
        return next(row for row in self.rows if row.name == layer)


@dataclasses.dataclass(frozen=True)
class Fitting:
    """The training that a step is given, and whether the step fits it.

    The only way in which a step is told who trains. Where nothing is fitted, a step may
    still look at the training's batches and loss.

    Args:
        training: `Training`, or `None`.
        is_fitted: whether the step fits it; there is one then.
    """

    training: Any = None
    is_fitted: bool = False

    def fit(self, model, callbacks=()):
        """Fits `model` where the step does, and returns the `TrainingLog` or `None`."""
        return fit_model(self.training, model, callbacks) if self.is_fitted else None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Engine:
    """What does the work of a method.

    A trait stands with `True`, or with the name of a property of the config that says
    whether it holds: `{"zeros": "keep_zeros"}`.

    Args:
        plan: function of a flat tf_keras model and a config to a `Plan`.
        run: function of that model, the `Plan` and a `Fitting` to
            `(model, CompressionReport)`. It leaves the model as it was and returns a
            copy without any wrapper.
        keeps: traits of earlier steps that it keeps.
        loses: trait that it does not keep, whatever the order -> the rest of the
            sentence "The recipe '...'", with what to write.
    """

    plan: Callable
    run: Callable
    keeps: Mapping[str, bool | str]
    loses: Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Method:
    """A row of the table of methods.

    Args:
        name: of a recipe's step, such as `"cluster"`.
        config: the step's type of config, a frozen dataclass. It has `layers`,
            `finetune`, `engine` and `training_needs(is_fitted)` (see
            `check_training`).
        makes: traits that the step gives to weights, as of `Engine`.
        engines: name -> `Engine`; `config.engine` is one of the names.
    """

    name: str
    config: type
    makes: Mapping[str, bool | str]
    engines: Mapping[str, Engine]

    def __call__(self, model, config, training=None):
        """Plans and runs one step on its own.

        Args:
            model: flat functional tf_keras model; it is left as it was.
            config: of the type `self.config`.
            training: `Training` to look at, and to fit unless `config.finetune` is
                false; or `None`.
        Returns:
            `(model, report)`: a tf_keras model of the same layers, stripped of every
            wrapper, and a `CompressionReport` with a row for every layer.
        Raises:
            InvalidValueError: if the config cannot be followed on this model, or the
                training lacks what the step needs.

        Example: `clustered, report = cluster(model, ClusterConfig(num_clusters=16))`
        """
        is_fitted = training is not None and config.finetune
        step = Step(self, config, Fitting(training, is_fitted))
        step.check_training()
        return step.run(model, step.plan(model))

    def engine(self, config):
        """Returns the `Engine` that a config asks for."""
        return self.engines[config.engine]

    def made_by(self, config):
        """Returns the set of traits that a step gives to weights."""
        return _holding(self.makes, config)

    def kept_by(self, config):
        """Returns the set of traits that a step keeps."""
        return _holding(self.engine(config).keeps, config)

    @staticmethod
    def trains(config):
        """Whether a step makes what it makes during training, wherever it stands."""
        return any(need.is_fit for need in config.training_needs(is_fitted=True))


@dataclasses.dataclass(frozen=True)
class Step:
    """One step of a recipe: its method, its config, and who trains."""

    method: Method
    config: Any
    fitting: Fitting

    def check_training(self):
        """Raises `InvalidValueError` where the training lacks what the step needs."""
        check_training(self.config, self.fitting.training, self.fitting.is_fitted)

    def plan(self, model):
        """Plans the step on a flat tf_keras model.

        Returns:
            `Plan`.
        Raises:
            InvalidValueError: if the config cannot be followed on this model.
        """
        plan = self.method.engine(self.config).plan(model, self.config)
        if self.fitting.is_fitted:
            check_dtypes(model, plan.rows)
        return plan

    def run(self, model, plan):
        """Follows a `Plan` of the same model, and returns `(model, report)`."""
        return self.method.engine(self.config).run(model, plan, self.fitting)


def _holding(traits, config):
    return {
        trait
        for trait, when in traits.items()
        if (getattr(config, when) if isinstance(when, str) else when)
    }
