"""Who does the work of a step: this package, or TFMOT as it is."""

import dataclasses

from tfcompress.errors import InvalidValueError
from tfcompress.methods.training_needs import TrainingNeed

OURS, STOCK = "tfcompress", "tfmot"
ENGINES = (OURS, STOCK)


def check_engine(config, foreign):
    """Refuses an engine that is not known, and settings that TFMOT does not have.

    Args:
        config: frozen dataclass with the fields `engine` and `layers`.
        foreign: names of the fields, and of the settings of rules, that TFMOT's engine
            of the method lacks.
    Raises:
        InvalidValueError: that names the field.
    """
    kind = type(config).__name__
    if config.engine not in ENGINES:
        raise InvalidValueError(
            f"{kind}.engine must be one of {', '.join(ENGINES)}, got {config.engine!r}."
        )
    if config.engine == OURS:
        return
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if field.name in foreign and value != field.default:
            raise InvalidValueError(
                f"{kind}.{field.name}={value!r} is a setting that TFMOT does not have, "
                f"and engine is {STOCK!r}. Leave it out, or take engine={OURS!r}."
            )
    for key, settings in config.layers.rules.items():
        for name in settings or ():
            if name in foreign:
                raise InvalidValueError(
                    f"The rule for layer {key!r} sets {name!r}, which TFMOT does not "
                    f"have, and engine is {STOCK!r}. Leave it out, or take "
                    f"engine={OURS!r}."
                )


def stock_fit_need(config, purpose):
    """Returns the `TrainingNeed` of a step that TFMOT does during training alone."""
    return TrainingNeed(
        f"{type(config).__name__}.engine {STOCK!r}",
        purpose,
        (),
        f"take engine={OURS!r}",
        is_fit=True,
    )
