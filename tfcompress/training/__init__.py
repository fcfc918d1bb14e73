"""What a method needs of the caller's training, and our own on arrays."""

from tfcompress.training.array_training import ArrayTraining, TrainingConfig
from tfcompress.training.training import Training, TrainingLog

__all__ = ["ArrayTraining", "Training", "TrainingConfig", "TrainingLog"]
