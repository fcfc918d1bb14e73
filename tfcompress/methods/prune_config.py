"""The settings of pruning, checked when they are made."""

import dataclasses
import math

from tfcompress.errors import InvalidValueError
from tfcompress.layer_rules import LayerRules
from tfcompress.methods.engines import OURS, STOCK, check_engine, stock_fit_need
from tfcompress.methods.training_needs import TrainingNeed

_CHOICES = {
    "criterion": ("l1", "fisher", "random"),
    "structure": ("unstructured", "block"),
    "scope": ("layer", "global"),
    "schedule": ("one_shot", "constant", "polynomial"),
}
_RULE_SETTINGS = ("weights", "sparsity", "sparsity_m_by_n", "block_shape")
_NOT_OF_TFMOT = ("criterion", "scope", "sensitivity_examples", "weights")
_OF_GRADUAL = ("begin", "end", "frequency")


@dataclasses.dataclass(frozen=True)
class PruneConfig:
    """Settings of `prune`.

    Args:
        sparsity: fraction of weights that become zero, above 0 and below 1.
        criterion: `"l1"` takes the weights of least magnitude; `"fisher"` those that
            the loss misses least, estimated on training examples
            (`methods/sensitivity.py`); `"random"` any.
        structure: `"unstructured"`, or `"block"`: whole blocks, those of least mean
            magnitude.
        block_shape: rows and columns of a block, in the weight as a matrix of its last
            axis against all others; only with `structure="block"`.
        sparsity_m_by_n: `(m, n)`: m zeros in every n weights along the input axis of a
            kernel, or along the row of an embedding; zeros first, as TFMOT counts.
            `sparsity` is then m / n. `(2, 4)` is what GPUs multiply faster.
        scope: `"layer"`: `sparsity` in each weight; `"global"`: over all weights
            together, by one threshold.
        schedule: `"one_shot"` prunes before fine-tuning; during training
            `"polynomial"` raises the sparsity from 0, and `"constant"` ("sparse
            training") has it from the beginning and chooses the weights anew.
        begin: of a gradual schedule, as a fraction of the training's steps.
        end: fraction of the steps from which on the masks stay.
        frequency: optimizer steps from one choice of a gradual schedule to the next.
        sensitivity_examples: training examples for `criterion="fisher"`, at least 1.
        seed: of `criterion="random"`, a non-negative integer.
        finetune: whether the training that is given is fitted; gradual schedules need
            it.
        engine: `"tfcompress"`, or `"tfmot"`: stock `prune_low_magnitude`, which prunes
            during training alone, by the magnitude of weights. It has no `criterion`
            but `"l1"`, no `scope` but `"layer"`, and no `weights` in rules.
        layers: `LayerRules`; a rule may set `sparsity`, `sparsity_m_by_n`,
            `block_shape` and `weights`, a list of the weights to prune in place of the
            kernels: `{"LayerNormalization": {"weights": ["gamma", "beta"]}}`.
    """

    sparsity: float
    _: dataclasses.KW_ONLY
    criterion: str = "l1"
    structure: str = "unstructured"
    block_shape: tuple[int, int] = (1, 1)
    sparsity_m_by_n: tuple[int, int] | None = None
    scope: str = "layer"
    schedule: str = "one_shot"
    begin: float = 0.0
    end: float = 0.7
    frequency: int = 50
    sensitivity_examples: int = 256
    seed: int = 0
    finetune: bool = True
    engine: str = OURS
    layers: LayerRules = LayerRules()

    def __post_init__(self):
        for name in ("block_shape", "sparsity_m_by_n"):  # JSON has lists
            if isinstance(value := getattr(self, name), list):
                object.__setattr__(self, name, tuple(value))
        _check_fraction("sparsity", self.sparsity)
        for name, choices in _CHOICES.items():
            if (value := getattr(self, name)) not in choices:
                raise _error(name, f"must be one of {', '.join(choices)}", value)
        _check_int("frequency", self.frequency, 1)
        _check_int("sensitivity_examples", self.sensitivity_examples, 1)
        _check_int("seed", self.seed, 0)
        if not isinstance(self.finetune, bool):
            raise _error("finetune", "must be True or False", self.finetune)
        self._check_structure()
        self._check_schedule()
        check_engine(self, _NOT_OF_TFMOT)
        for key, settings in self.layers.rules.items():
            self._check_rule(key, settings or {})

    @property
    def is_gradual(self):
        """Whether the masks are made during training."""
        return self.schedule != "one_shot"

    def training_needs(self, is_fitted):
        """Yields what pruning needs of a training, as of `check_training`."""
        if self.engine == STOCK:
            yield stock_fit_need(self, "prunes during training")
        if self.is_gradual:
            setting = f"PruneConfig.schedule {self.schedule!r}"
            instead = "take schedule='one_shot'"
            yield TrainingNeed(
                setting, "prunes during training", (), instead, is_fit=True
            )
            yield TrainingNeed(
                setting,
                "prunes by shares of the training's steps",
                ("num_steps",),
                instead,
            )
        if self.criterion == "fisher":
            yield TrainingNeed(
                "PruneConfig.criterion 'fisher'",
                "is measured on training examples",
                ("batches", "loss"),
                "take criterion='l1'",
            )

    def with_rule(self, settings):
        """Returns the settings of a layer.

        Args:
            settings: what its rule overrides; `weights` does not count here.
        """
        changes = {key: settings[key] for key in settings if key != "weights"}
        if isinstance(changes.get("block_shape"), list):
            changes["block_shape"] = tuple(changes["block_shape"])
        if m_by_n := changes.get("sparsity_m_by_n"):
            m_by_n = changes["sparsity_m_by_n"] = _checked_m_by_n(m_by_n)
            changes = {"sparsity": m_by_n[0] / m_by_n[1], **changes}
            changes |= {"structure": "unstructured", "block_shape": (1, 1)}
        elif "block_shape" in changes:
            is_block = changes["block_shape"] != (1, 1)
            changes["structure"] = "block" if is_block else "unstructured"
            changes["sparsity_m_by_n"] = None
        return dataclasses.replace(self, layers=LayerRules(), **changes)

    def _check_structure(self):
        shape = self.block_shape
        if not _is_pair(shape) or min(shape) < 1:
            raise _error("block_shape", "must be two whole numbers above 0", shape)
        if (self.structure == "block") != (shape != (1, 1)):
            raise InvalidValueError(
                "PruneConfig.structure 'block' and a block_shape of more than one "
                "weight go together, such as structure='block', block_shape=(4, 1); "
                f"got {self.structure!r} and {shape!r}."
            )
        if self.sparsity_m_by_n is None:
            return
        m, n = _checked_m_by_n(self.sparsity_m_by_n)
        if not math.isclose(self.sparsity, m / n):
            raise InvalidValueError(
                f"PruneConfig.sparsity_m_by_n {(m, n)!r} makes {m} of {n} weights "
                f"zero: sparsity must be {m / n!r}, got {self.sparsity!r}."
            )
        if (self.structure, self.scope) != ("unstructured", "layer"):
            raise InvalidValueError(
                "PruneConfig.sparsity_m_by_n fixes the number of zeros in each group: "
                "it goes with structure='unstructured' and scope='layer', got "
                f"{self.structure!r} and {self.scope!r}."
            )

    def _check_schedule(self):
        for name in ("begin", "end"):
            value = getattr(self, name)
            if not _is_number(value) or not 0 <= value <= 1:
                raise _error(name, "must be a fraction of the steps in [0, 1]", value)
        if self.begin >= self.end:
            raise _error("end", f"must be above begin ({self.begin!r})", self.end)
        if self.is_gradual:
            if not self.finetune:
                raise InvalidValueError(
                    f"PruneConfig.schedule {self.schedule!r} prunes during training: "
                    "it needs finetune=True. Without training take 'one_shot'."
                )
            if self.schedule == "polynomial" and self.sparsity_m_by_n is not None:
                raise InvalidValueError(
                    "PruneConfig.schedule 'polynomial' raises the sparsity bit by bit, "
                    "which sparsity_m_by_n cannot. Take 'constant' or 'one_shot'."
                )
            return
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.name in _OF_GRADUAL and value != field.default:
                raise InvalidValueError(
                    f"PruneConfig.{field.name} is for pruning during training, and "
                    f"the schedule is 'one_shot'; got {value!r}. Set schedule="
                    "'constant' or 'polynomial', or leave it out."
                )

    def _check_rule(self, key, settings):
        allowed = ("weights",) if self.scope == "global" else _RULE_SETTINGS
        if unknown := [name for name in settings if name not in allowed]:
            raise InvalidValueError(
                f"The rule for layer {key!r} sets {unknown[0]!r}, which pruning with "
                f"scope={self.scope!r} cannot set by layer. Settings: "
                f"{', '.join(allowed)}."
            )
        weights = settings.get("weights", ["kernel"])
        names = weights if isinstance(weights, list | tuple) else []
        if not names or not all(isinstance(name, str) for name in names):
            raise InvalidValueError(
                f"The rule for layer {key!r} sets weights to {weights!r}; it must be a "
                "list of weight names such as ['kernel', 'bias']."
            )
        self.with_rule(settings)  # its values are checked as the config's own are


def _checked_m_by_n(value):
    value = tuple(value) if isinstance(value, list) else value
    if not _is_pair(value) or not 0 < value[0] < value[1]:
        raise _error(
            "sparsity_m_by_n", "must be (zeros, weights of a group), as (2, 4)", value
        )
    return value


def _check_fraction(name, value):
    if not _is_number(value) or not 0 < value < 1:
        raise _error(
            name, "must be a fraction above 0 and below 1 (0.8 for 80%)", value
        )


def _check_int(name, value, low):
    if not _is_int(value) or value < low:
        raise _error(name, f"must be a whole number of at least {low}", value)


def _is_number(value):
    return isinstance(value, float) or _is_int(value)


def _is_int(value):
    return isinstance(value, int) and not isinstance(value, bool)


def _is_pair(value):
    return isinstance(value, tuple) and len(value) == 2 and all(map(_is_int, value))


def _error(name, requirement, value):
    return InvalidValueError(f"PruneConfig.{name} {requirement}, got {value!r}.")
