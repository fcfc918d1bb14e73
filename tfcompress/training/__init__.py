"""What a method needs of the caller's training, and our own on arrays."""

from tfcompress.training.array_training import ArrayTraining, task_of
from tfcompress.training.training import (
    ExampleTraining,
    Training,
    TrainingLog,
    fit_model,
)
from tfcompress.training.training_config import TrainingConfig

__all__ = [
    "ArrayTraining",
    "ExampleTraining",
    "Training",
    "TrainingConfig",
    "TrainingLog",
    "fit_model",
    "task_of",
]
