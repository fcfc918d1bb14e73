"""Settings of a training on arrays."""

import dataclasses
import math

from tfcompress.errors import InvalidValueError

OPTIMIZERS = ("adam", "adamw")
SCHEDULES = ("constant", "linear")
PRECISIONS = ("float32", "bfloat16")


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """How long, how fast and with which optimizer to train.

    Attributes:
        epochs: epochs to run; the most where `patience` is set.
        patience: epochs without a lower validation loss after which training stops; the
            weights of the best epoch are restored. `None` runs all epochs and keeps the
            last weights.
        batch_size: examples of one optimizer step.
        learning_rate: of the optimizer, above 0; the highest of the schedule.
        optimizer: `"adam"` or `"adamw"`.
        weight_decay: of AdamW, decoupled from the gradient: each step takes this share
            times the learning rate from every weight but biases and the scales and
            shifts of normalizations. At least 0; 0 with Adam.
        warmup_fraction: share of all steps in which the learning rate rises to its
            highest value, in [0, 1).
        schedule: `"constant"`, or `"linear"`: after the warm-up the learning rate falls
            in a straight line, to 0 after the last step.
        clip_norm: largest norm of all gradients together, above 0; longer ones are
            scaled down. `None` clips nothing.
        bucket_by_length: whether batches are made of examples of like length and
            trimmed to the longest of them. It takes an input named `"padding_mask"` and
            a model whose inputs have a free length.
        precision: of the arithmetic, `"float32"` or `"bfloat16"`; the weights are
            float32 either way.
        seed: seed of the order of examples and of the dropout.
    """

    epochs: int
    patience: int | None = None
    batch_size: int = 64
    learning_rate: float = 1e-3
    optimizer: str = "adam"
    weight_decay: float = 0.0
    warmup_fraction: float = 0.0
    schedule: str = "constant"
    clip_norm: float | None = None
    bucket_by_length: bool = False
    precision: str = "float32"
    seed: int = 0

    def __post_init__(self):
        for name in ("epochs", "batch_size"):
            _check_at_least(name, getattr(self, name), 1)
        if self.patience is not None:
            _check_at_least("patience", self.patience, 1)
        _check_at_least("seed", self.seed, 0)
        _check_positive("learning_rate", self.learning_rate)
        if self.clip_norm is not None:
            _check_positive("clip_norm", self.clip_norm)
        _check_choice("optimizer", self.optimizer, OPTIMIZERS)
        _check_choice("schedule", self.schedule, SCHEDULES)
        _check_choice("precision", self.precision, PRECISIONS)
        if not 0.0 <= self.warmup_fraction < 1.0:
            raise InvalidValueError(
                "TrainingConfig.warmup_fraction must be a fraction in [0, 1), got "
                f"{self.warmup_fraction!r}. Write 0.1 for 10 %."
            )
        if not 0.0 <= self.weight_decay < math.inf:
            raise InvalidValueError(
                "TrainingConfig.weight_decay must be at least 0 and finite, got "
                f"{self.weight_decay!r}."
            )
        if self.weight_decay and self.optimizer != "adamw":
            raise InvalidValueError(
                f"TrainingConfig.weight_decay is {self.weight_decay!r}, and the "
                f"optimizer {self.optimizer!r} decays no weights. Take "
                "optimizer='adamw', or weight_decay=0."
            )
        if not isinstance(self.bucket_by_length, bool):
            raise InvalidValueError(
                "TrainingConfig.bucket_by_length must be True or False, got "
                f"{self.bucket_by_length!r}."
            )


def _check_at_least(name, value, limit):
    if not isinstance(value, int) or value < limit:
        raise InvalidValueError(
            f"TrainingConfig.{name} must be an integer of at least {limit}, "
            f"got {value!r}."
        )


def _check_positive(name, value):
    if not 0.0 < value < math.inf:
        raise InvalidValueError(
            f"TrainingConfig.{name} must be above 0 and finite, got {value!r}."
        )


def _check_choice(name, value, choices):
    if value not in choices:
        raise InvalidValueError(
            f"TrainingConfig.{name} must be one of {', '.join(choices)}, got {value!r}."
        )
