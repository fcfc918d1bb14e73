"""The settings of quantization-aware training, checked when they are made."""

import dataclasses

from tfcompress.activation_ranges import RANGE_ESTIMATORS
from tfcompress.errors import InvalidValueError
from tfcompress.layer_rules import LayerRules
from tfcompress.methods.engines import OURS, STOCK, check_engine, stock_fit_need
from tfcompress.methods.training_needs import TrainingNeed

SCHEMES = ("dynamic_range", "static_range")
WEIGHT_BITS = (8, 4)
GRANULARITIES = ("per_channel", "per_tensor")
ACTIVATIONS = ("products", "all")
_NOT_OF_TFMOT = (
    *("activations", "weight_bits", "granularity", "calibration_examples"),
    *("range_estimator", "freeze"),
)
RULE_SETTINGS = ("weight_bits", "granularity")


@dataclasses.dataclass(frozen=True)
class QatConfig:
    """Settings of `qat`.

    Args:
        scheme: `"dynamic_range"`: weights are integers, activations float; the kernels
            of that name round the activations' rows as they run, which costs less
            than can be measured. `"static_range"`: activations are 8-bit integers too,
            within ranges that are found before training.
        activations: which ones `"static_range"` quantizes. `"products"`: what dense
            layers, convolutions and the products of attention read, as runtimes
            compute transformers; residual sums, whose ranges a few outliers stretch,
            stay float. `"all"`: the output of every layer that computes, as in a
            TFLite file that is integer throughout.
        weight_bits: bits of a weight, 8 or 4.
        granularity: `"per_channel"`: a scale for each output channel of a kernel;
            `"per_tensor"`: one for the weight. An embedding table has one in any case,
            and so has a weight that was clustered as a whole.
        calibration_examples: training examples from which the ranges of
            `"static_range"` are found, at least 1.
        range_estimator: `"min_max"`: a range holds all values of those examples;
            `"percentile"`: from the 0.01th to the 99.99th percentile.
        freeze: share of the training's steps, at its end, in which ranges stay as they
            are; in [0, 1].
        seed: non-negative integer; it tells rows of an experiment apart, for the
            method draws nothing that the training does not.
        finetune: whether the training that is given is fitted.
        engine: `"tfcompress"`, or `"tfmot"`: stock `quantize_apply` with its default
            8-bit scheme, which trains in any case and rounds weights and activations
            of the layer types that it knows, whatever `scheme` says. It has none of the
            other settings but rules that are `None`.
        layers: `LayerRules`; `None` keeps a layer float, and a rule may set
            `weight_bits` and `granularity`.
    """

    scheme: str = "dynamic_range"
    _: dataclasses.KW_ONLY
    activations: str = "products"
    weight_bits: int = 8
    granularity: str = "per_channel"
    calibration_examples: int = 300
    range_estimator: str = "min_max"
    freeze: float = 0.2
    seed: int = 0
    finetune: bool = True
    engine: str = OURS
    layers: LayerRules = LayerRules()

    def __post_init__(self):
        _check_choice("scheme", self.scheme, SCHEMES)
        _check_choice("activations", self.activations, ACTIVATIONS)
        _check_choice("granularity", self.granularity, GRANULARITIES)
        _check_choice("range_estimator", self.range_estimator, RANGE_ESTIMATORS)
        if not _is_int(self.weight_bits) or self.weight_bits not in WEIGHT_BITS:
            raise _error("weight_bits", "must be 8 or 4", self.weight_bits)
        for name, low in (("calibration_examples", 1), ("seed", 0)):
            value = getattr(self, name)
            if not _is_int(value) or value < low:
                raise _error(name, f"must be a whole number of at least {low}", value)
        is_number = isinstance(self.freeze, float) or _is_int(self.freeze)
        if not is_number or not 0 <= self.freeze <= 1:
            raise _error(
                "freeze", "must be a fraction of the steps in [0, 1]", self.freeze
            )
        if not isinstance(self.finetune, bool):
            raise _error("finetune", "must be True or False", self.finetune)
        check_engine(self, _NOT_OF_TFMOT)
        for key, settings in self.layers.rules.items():
            if unknown := [
                name for name in settings or () if name not in RULE_SETTINGS
            ]:
                raise InvalidValueError(
                    f"The rule for layer {key!r} sets {unknown[0]!r}, which "
                    "quantization-aware training cannot set by layer. Settings: "
                    f"{', '.join(RULE_SETTINGS)}."
                )
            if settings:  # its values are checked as the config's own are
                self.with_rule(settings)

    @property
    def is_static(self):
        """Whether activations are quantized too."""
        return self.scheme == "static_range"

    def training_needs(self, is_fitted):
        """Yields what quantization needs of a training, as of `check_training`."""
        if self.engine == STOCK:
            yield stock_fit_need(self, "rounds during training")
            return
        if not self.is_static:
            return
        setting, instead = "QatConfig.scheme 'static_range'", "scheme='dynamic_range'"
        yield TrainingNeed(
            setting,
            "finds the ranges of activations on training examples",
            ("batches",),
            f"take {instead}",
        )
        if is_fitted and 0 < self.freeze < 1:
            yield TrainingNeed(
                setting,
                f"freezes ranges in the last {self.freeze:g} of the steps",
                ("num_steps",),
                f"set freeze=0, or take {instead}",
            )

    def with_rule(self, settings):
        """Returns the settings of a layer; `settings` is what its rule overrides."""
        return dataclasses.replace(self, layers=LayerRules(), **settings)


def _check_choice(name, value, choices):
    if value not in choices:
        raise _error(name, f"must be one of {', '.join(choices)}", value)


def _is_int(value):
    return isinstance(value, int) and not isinstance(value, bool)


def _error(name, requirement, value):
    return InvalidValueError(f"QatConfig.{name} {requirement}, got {value!r}.")
