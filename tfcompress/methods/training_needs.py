"""What a step needs of the training that it is given, checked before anything runs."""

import dataclasses
import operator

from tfcompress.compression_report import COMPRESSED
from tfcompress.errors import InvalidValueError

# Member of `ExampleTraining` -> how it is written.
_MEMBERS = {
    "batches": "batches(n)",
    "loss": "loss(targets, outputs)",
    "num_steps": "num_steps",
}


@dataclasses.dataclass(frozen=True)
class TrainingNeed:
    """Why a step needs more of a training than its `fit`.

    Args:
        setting: what asks for it, such as `"QatConfig.scheme 'static_range'"`.
        purpose: what it is for, as `"is measured on training examples"`.
        members: names of members of `ExampleTraining`.
        instead: how to do without, as `"take criterion='l1'"`.
        is_fit: whether the training has to be fitted: what the step makes, it makes
            then.
    """

    setting: str
    purpose: str
    members: tuple[str, ...]
    instead: str
    is_fit: bool = False


def check_training(config, training, is_fitted):
    """Refuses a training that lacks what a step needs.

    Args:
        config: of the step; its `training_needs(is_fitted)` yields `TrainingNeed`s.
        training: `Training` or `None`.
        is_fitted: whether the step fits it.
    Raises:
        InvalidValueError: that names the step's setting, and the missing member or
            training.
    """
    for need in config.training_needs(is_fitted):
        if need.is_fit and not is_fitted:
            raise InvalidValueError(
                f"{need.setting} {need.purpose}, and there is none. Give compress() a "
                f"training, or {need.instead}."
            )
        if training is None:
            raise InvalidValueError(
                f"{need.setting} {need.purpose}, and training is None. Give the "
                "training, with finetune=False where nothing is to be fitted, or "
                f"{need.instead}."
            )
        for name in need.members:
            if not _has(training, name):
                raise InvalidValueError(
                    f"{need.setting} {need.purpose} and needs {_MEMBERS[name]} of the "
                    f"training, which {type(training).__name__} lacks. Add it as "
                    "ExampleTraining describes it, take ArrayTraining, or "
                    f"{need.instead}."
                )


def check_dtypes(model, rows):
    """Refuses to fine-tune layers that compute in float16.

    Args:
        model: flat tf_keras model.
        rows: `LayerRow`s of what a step does to it.
    Raises:
        InvalidValueError: that names the first such layer.
    """
    treated = {row.name for row in rows if row.status == COMPRESSED}
    for layer in model.layers:
        if layer.name in treated and layer.compute_dtype == "float16":
            raise InvalidValueError(
                f"Layer {layer.name!r} ({type(layer).__name__}) computes in float16, "
                "in which small gradients become zero unless the loss is scaled: it "
                "is not fine-tuned. Compress it once, with training=None or "
                "finetune=False, or build the model with the dtype policy float32."
            )


def _has(training, name):
    """Whether a training has a member of its kind: a function, or a whole number."""
    member = getattr(training, name, None)
    if name != "num_steps":
        return callable(member)
    try:
        return operator.index(member) > 0
    except TypeError:
        return False
