"""The task of an experiment: texts into classes, by the embedding classifier."""

import dataclasses
import math

from tfcompress.data.tokenizing import tokenize
from tfcompress.data.word_tokenizer import train_word_tokenizer
from tfcompress.models.embedding_classifier import embedding_classifier
from tfcompress.training import ArrayTraining, TrainingConfig, task_of

# Epochs without a lower validation loss before training stops, and the most epochs. On
# few examples an epoch is a few steps: then at least so many steps, in more epochs.
PATIENCE, MAX_EPOCHS = 2, 60
_PATIENCE_STEPS, _MAX_PATIENCE, _EPOCHS_A_PATIENCE = 200, 20, 10
_TRAINING_SECONDS, _FINETUNING_SECONDS, _COMPRESSING_SECONDS = 40, 8, 4


class EmbeddingTask:
    """A dataset of texts, its tokenizer, and how the classifier is built and trained.

    Args:
        dataset: `Dataset` with texts under the name `"text"`.
        seed: of the weights, the dropout and the order of examples.
        finetuning: settings of every row but the baseline: dict of `epochs` and, if it
            is not `TrainingConfig`'s, `learning_rate`.

    Attributes:
        task: `Task`, what the model's output is for.
        texts: the dataset as given.
        dataset: the same with tokens in place of texts.
        tokenizer: `tokenizers.Tokenizer`, trained on the training split.
        model_name, preset: of the record's `model` section.
        target_seconds: rough seconds to export and score a file, for the time left.
        timing_seconds: rough seconds to time a file once.
    """

    model_name = "embedding_classifier"
    preset = None
    target_seconds = 8
    timing_seconds = 1.5

    def __init__(self, dataset, *, seed, finetuning):
        self.task = task_of(dataset)
        self.texts = dataset
        self.tokenizer = train_word_tokenizer(dataset.train.inputs["text"])
        self.dataset = dataset.map_inputs(
            lambda inputs: tokenize(self.tokenizer, inputs["text"], ["tokens"])
        )
        self._seed = seed
        self._finetuning = finetuning

    def build_model(self):
        """Returns a new Keras 3 model, seeded."""
        return embedding_classifier(self.dataset.num_classes, seed=self._seed)

    def seconds(self, row):
        """Returns the rough seconds that a row's model takes, for the time left."""
        if not row.trains:
            return _COMPRESSING_SECONDS
        return _TRAINING_SECONDS if row.parent is None else _FINETUNING_SECONDS

    def training(self, row, on_progress=None, checkpoint_folder=None):
        """Returns the `Training` of a row.

        Args:
            row: `Row`; one without a parent is trained until the validation loss stops
                falling, any other for the epochs of fine-tuning.
            on_progress: called with a fraction and a line of text.
            checkpoint_folder: where a killed training leaves what it takes to go on.
        """
        is_baseline = row.parent is None
        settings = {"epochs": MAX_EPOCHS} if is_baseline else self._finetuning
        config = TrainingConfig(seed=self._seed, **settings)
        if is_baseline:
            num_steps = math.ceil(self.dataset.train.num_examples / config.batch_size)
            patience = min(math.ceil(_PATIENCE_STEPS / num_steps), _MAX_PATIENCE)
            patience = max(patience, PATIENCE)
            epochs = max(MAX_EPOCHS, _EPOCHS_A_PATIENCE * patience)
            config = dataclasses.replace(config, epochs=epochs, patience=patience)
        return ArrayTraining(
            self.dataset,
            dataclasses.replace(config, **row.finetuning),
            on_progress=on_progress,
            checkpoint_folder=checkpoint_folder,
        )
