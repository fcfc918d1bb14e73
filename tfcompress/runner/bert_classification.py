"""The task of an experiment: texts into classes, by a BERT classifier."""

import dataclasses
import functools
import math
import pathlib

from tfcompress.data.tokenizing import tokenize
from tfcompress.models import load_preset
from tfcompress.training import ArrayTraining, TrainingConfig, task_of

# As in BERT's own fine-tuning (Devlin et al. 2019, appendix A.3).
WEIGHT_DECAY, WARMUP_FRACTION, CLIP_NORM = 0.01, 0.1, 1.0
# Those of every family; a model takes the ones that it has.
_INPUTS = ("token_ids", "padding_mask", "segment_ids")
# Roughly, of MiniLM on 2 cores: seconds of a step, of an export and of scoring a text.
_STEP_SECONDS, _EXPORT_SECONDS, _TEXT_SECONDS, _COMPRESSING_SECONDS = 0.6, 15, 0.007, 60


class BertTask:
    """A dataset of texts, a preset, and how its classifier is fine-tuned.

    Args:
        dataset: `Dataset` with texts under the name `"text"`.
        settings: dict of `preset`, `vocabulary` (path or `None`), `max_length`,
            `epochs`, `learning_rate`, `batch_size`, `training_precision` and
            `bucket_by_length`, as `BertSettings` has them.
        seed: of the head's weights, the dropout and the order of examples.
        finetuning: settings that differ for rows that start from another: dict of
            `epochs` and `learning_rate`.

    Attributes: as of `EmbeddingTask`.
    """

    model_name = "bert_classifier"
    timing_seconds = 8

    def __init__(self, dataset, settings, *, seed, finetuning=None):
        self.task = task_of(dataset)
        self.texts = dataset
        self._preset = load_preset(
            settings["preset"],
            vocabulary=settings["vocabulary"],
            texts=dataset.train.inputs["text"],
        )
        self.preset = _display_name(settings["preset"])
        self._max_length = settings["max_length"]
        self.tokenizer = self._preset.tokenizer(self._max_length)
        self._seed = seed
        self._config = dataclasses.replace(
            _training_config(settings, seed),
            patience=settings["epochs"],  # stops never, but restores the best epoch
        )
        # The last epoch's weights: only then has a gradual pruning come to its end.
        self._finetuning_config = _training_config(settings | (finetuning or {}), seed)

    @functools.cached_property
    def dataset(self):
        """The dataset with tokens in place of texts."""
        return self.texts.map_inputs(
            lambda inputs: tokenize(
                self.tokenizer, inputs["text"], _INPUTS, length=self._max_length
            )
        )

    @property
    def target_seconds(self):
        """Rough seconds to export and score a file, for the time left."""
        return _EXPORT_SECONDS + self.texts.test.num_examples * _TEXT_SECONDS

    def seconds(self, row):
        """Returns the rough seconds that a row's model takes, for the time left."""
        if not row.trains:
            return _COMPRESSING_SECONDS
        config = self._config_of(row)
        steps = math.ceil(self.texts.train.num_examples / config.batch_size)
        return steps * config.epochs * _STEP_SECONDS

    def build_model(self):
        """Returns a new Keras 3 model, its head and dropout seeded."""
        return self._preset.build_classifier(
            self.texts.num_classes, self._max_length, seed=self._seed
        )

    def training(self, row, on_progress=None, checkpoint_folder=None):
        """Returns the `Training` of a row; arguments as of `EmbeddingTask`."""
        return ArrayTraining(
            self.dataset,
            self._config_of(row),
            on_progress=on_progress,
            checkpoint_folder=checkpoint_folder,
        )

    def _config_of(self, row):
        config = self._config if row.parent is None else self._finetuning_config
        return dataclasses.replace(config, **row.finetuning)


def _training_config(settings, seed):
    return TrainingConfig(
        epochs=settings["epochs"],
        batch_size=settings["batch_size"],
        learning_rate=settings["learning_rate"],
        optimizer="adamw",
        weight_decay=WEIGHT_DECAY,
        warmup_fraction=WARMUP_FRACTION,
        schedule="linear",
        clip_norm=CLIP_NORM,
        bucket_by_length=settings["bucket_by_length"],
        precision=settings["training_precision"],
        seed=seed,
    )


def _display_name(preset):
    """Returns a handle as it is, and the last part of a folder's path."""
    return pathlib.Path(preset).name if pathlib.Path(preset).is_dir() else preset
