"""The settings that experiments share; each takes those that it needs as bases."""

import dataclasses

from tfcompress.activation_ranges import RANGE_ESTIMATORS
from tfcompress.errors import InvalidValueError
from tfcompress.formats import DEVICES, RUNTIMES, shipped_formats
from tfcompress.runner.calibration import Calibration
from tfcompress.runner.rows import CODINGS, choose_rows
from tfcompress.settings import (
    CheckedSettings,
    check_at_least,
    check_choices,
    deciding_values,
    setting,
)

# A model that is trained already moves less.
_SHARE_OF_LEARNING_RATE = 0.6


@dataclasses.dataclass(frozen=True, kw_only=True)
class CheckSettings(CheckedSettings):
    """Of everything that writes a page."""

    seed: int = setting(0, "Seed of the split, the weights and the batches.")
    run_dir: str | None = setting(
        None, "Folder of the run. Default: runs/<experiment>/<run id>.", decides=False
    )

    def __post_init__(self):
        super().__post_init__()
        check_at_least(self, 0, "seed")


@dataclasses.dataclass(frozen=True, kw_only=True)
class TimingSettings(CheckSettings):
    """Of everything that times files in turn."""

    formats: tuple[str, ...] = setting(
        shipped_formats(), "Formats to ship each row in."
    )
    runtimes: tuple[str, ...] = setting(
        (),
        "Runtimes that files are scored and timed on besides their formats' own, of "
        f"{', '.join(RUNTIMES)}, each for the formats that it opens.",
        decides=False,
    )
    devices: tuple[str, ...] = setting(
        ("cpu",),
        "Devices that files are scored and timed on, of cpu and gpu; the CPU is always "
        "among them.",
        decides=False,
    )
    num_threads: int = setting(2, "Threads of a runtime while it is measured.")
    rounds: int = setting(5, "Rounds of timing; 0 leaves the timing out.")

    def __post_init__(self):
        super().__post_init__()
        check_choices(self, "formats", shipped_formats())
        if self.runtimes:
            check_choices(self, "runtimes", tuple(RUNTIMES))
        check_choices(self, "devices", DEVICES)
        check_at_least(self, 1, "num_threads")
        check_at_least(self, 0, "rounds")
        object.__setattr__(self, "formats", tuple(dict.fromkeys(self.formats)))


@dataclasses.dataclass(frozen=True, kw_only=True)
class ResumedSettings(CheckedSettings):
    """Of everything that goes on after a kill."""

    resume: bool = setting(
        False, "Go on with a run although other code began it.", decides=False
    )
    fresh: bool = setting(
        False, "Delete what the run folder holds; begin anew.", decides=False
    )

    def __post_init__(self):
        super().__post_init__()
        if self.resume and self.fresh:
            raise InvalidValueError(
                "--resume and --fresh exclude each other: go on, or begin anew?"
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExperimentSettings(TimingSettings, ResumedSettings):
    """Of every experiment."""

    text_column: str | None = setting(None, "Column of the texts, for a file.")
    label_column: str | None = setting(None, "Column of the labels, for a file.")
    limit: int | None = setting(
        None, "Most training and most test examples to take. Default: all."
    )
    codings: tuple[str, ...] = setting(CODINGS, "Codings to ship each format in.")
    full_coded_quality: bool = setting(
        False,
        "Score coded files on the whole test split, instead of taking over the dense "
        "file's quality after 500 examples.",
    )
    verify: bool = setting(
        True,
        "Run each file beside its source before it is kept, in a process of its own.",
    )

    def __post_init__(self):
        super().__post_init__()
        check_choices(self, "codings", CODINGS)
        object.__setattr__(self, "codings", tuple(dict.fromkeys(self.codings)))
        check_at_least(self, 2, "limit")


@dataclasses.dataclass(frozen=True, kw_only=True)
class DatasetSettings(ExperimentSettings):
    """Of an experiment whose dataset can be chosen."""

    dataset: str | None = setting(
        None,
        "A dataset of the TFDS catalog, 'synthetic_reviews', a file (CSV, TSV, JSONL, "
        "Parquet), or two with a comma between them: TRAIN,TEST. Default: that of the "
        "experiment where it can be had, else 'synthetic_reviews'.",
    )
    data_dir: str | None = setting(
        None,
        "Folder of prepared TFDS datasets. Default: TFDS_DATA_DIR.",
        decides=False,
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class BertSettings(DatasetSettings):
    """Of an experiment that fine-tunes a BERT classifier."""

    preset: str | None = setting(
        "random:tiny",
        "Encoder: a keras-nlp name, hf://USER/MODEL, kaggle://..., a folder in Hugging "
        "Face or Keras format, or random:tiny, mini, small, medium or base.",
    )
    vocabulary: str | None = setting(
        None,
        "WordPiece vocabulary file of a random encoder. Default: built from the "
        "training texts.",
    )
    max_length: int = setting(128, "Most tokens of a text; longer ones are cut.")
    epochs: int | None = setting(
        None,
        "Epochs of the baseline's training. Default: 1, and 3 for a random encoder.",
    )
    learning_rate: float | None = setting(
        None, "Highest learning rate. Default: 5e-5, and 5e-4 for a random encoder."
    )
    batch_size: int = setting(32, "Examples of an optimizer step.")
    training_precision: str = setting(
        "float32",
        "Arithmetic of training; the weights are float32 either way.",
        choices=("float32", "bfloat16"),
    )
    bucket_by_length: bool = setting(
        True, "Put texts of like length into a batch, to pad less."
    )

    def __post_init__(self):
        super().__post_init__()
        if self.vocabulary is not None and self.preset and not self._is_random:
            raise InvalidValueError(
                f"--vocabulary is for a random encoder; {self.preset!r} has its own. "
                "Leave it out, or choose --preset=random:tiny."
            )

    @property
    def _is_random(self):
        return self.preset.startswith("random:")

    def training(self):
        """Returns epochs and learning rate of the baseline, defaults filled in."""
        epochs, learning_rate = (3, 5e-4) if self._is_random else (1, 5e-5)
        return {
            "epochs": epochs if self.epochs is None else self.epochs,
            "learning_rate": (
                learning_rate if self.learning_rate is None else self.learning_rate
            ),
        }

    def make_bert_task(self, dataset):
        """Returns the `BertTask` of a dataset of texts."""
        from tfcompress.runner.bert_classification import BertTask

        values = deciding_values(self) | self.training()
        finetuning = self._finetuning()
        return BertTask(dataset, values, seed=self.seed, finetuning=finetuning)

    def _finetuning(self):
        return None


@dataclasses.dataclass(frozen=True, kw_only=True)
class FinetuningSettings(BertSettings):
    """Of an experiment that fine-tunes a BERT classifier in several ways."""

    finetune_epochs: int = setting(1, "Epochs of fine-tuning, and of the control.")
    finetune_learning_rate: float | None = setting(
        None,
        "Highest learning rate of fine-tuning. Default: 0.6 times --learning_rate.",
    )
    rows: tuple[str, ...] = setting(
        (), "Rows to make, with those that they start from. Default: all."
    )

    def __post_init__(self):
        super().__post_init__()
        check_at_least(self, 1, "finetune_epochs")

    def finetuning(self):
        """Returns epochs and learning rate, the default of the latter filled in."""
        rate = self.finetune_learning_rate
        if rate is None:
            rate = _SHARE_OF_LEARNING_RATE * self.training()["learning_rate"]
        return {"epochs": self.finetune_epochs, "learning_rate": rate}

    def derived(self, rows):
        """Returns what defaults that depend on others come to, for the records.

        Args:
            rows: tuple of `Row`, those that are made.
        """
        return self.training() | {
            "finetune_learning_rate": self.finetuning()["learning_rate"],
            "rows": [row.name for row in rows],
        }

    def choose_rows(self, rows):
        """Returns those of `rows` that are to be made.

        Raises:
            InvalidValueError: if a name is no row's.
        """
        return choose_rows(rows, self.rows) if self.rows else rows

    def _finetuning(self):
        return self.finetuning()


@dataclasses.dataclass(frozen=True, kw_only=True)
class CalibrationSettings(CheckedSettings):
    """Of an experiment that writes static files."""

    calibration_examples: int = setting(
        300,
        "Training examples from which the ranges of static quantization are found.",
    )
    range_estimator: str = setting(
        "min_max",
        "What a range holds: all values that were seen, or all but 0.01% at either "
        "end.",
        choices=RANGE_ESTIMATORS,
    )

    def __post_init__(self):
        super().__post_init__()
        check_at_least(self, 1, "calibration_examples")

    def calibration(self, seed):
        """Returns the `Calibration`.

        Args:
            seed: of the choice of examples.
        """
        return Calibration(
            num_examples=self.calibration_examples,
            range_estimator=self.range_estimator,
            seed=seed,
        )
