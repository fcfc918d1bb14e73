"""Compress a Keras model of your own, by a recipe; see what it cost.

    make experiment NAME=compress ARGS="--model=my.keras --data=my.csv \\
      --vocabulary=words.txt --recipe='prune(0.5)+cluster(16)'"
    make experiment NAME=compress ARGS="--model=my.keras --data=my.npz --epochs=0"
    make experiment NAME=compress ARGS="--model=my.keras --data=my.npz --max_drop=0.01"

MODEL is a .keras file of Keras 3 that classifies; DATA a CSV, TSV, JSONL or Parquet
file with a column of texts and one of labels, or an .npz file with an array for each
input of the model, by its name, and "labels", whole numbers from 0. Two files with a
comma between them are train and test; of one a tenth is the test split.

The model as it is (the row `original`) stands beside the recipe without training
(`compressed`; there is none of gradual pruning), the recipe with --epochs of
fine-tuning (`compressed_finetuned`) and its control, the same training without the
recipe. Each is shipped in every format, dense and coded, scored and timed: the
artifacts are in the run's folder, and the last line that is printed names the one to
take: of the last row the smallest file. The files put out what the model puts out:
probabilities where it ends in a softmax or a sigmoid, else logits.

With --max_drop, in place of a recipe, recipes are tried from the one with the smallest
file to the safest, in the first of --formats, until the accuracy on the validation
split has fallen by no more than that; the test split has no say. The table has what was
tried, and the notes below it the validation's figures. In this order:
prune(0.5)+cluster(16), cluster(8), cluster(16), cluster(16, block_size=64), cluster(64)
(zeros and centroids by the loss's sensitivity), then the model as it is in int8,
float16 and float32.

A BatchNormalization is folded into a layer that the recipe treats before the recipe
begins, where nothing is trained through it; --fold_batch_norm says otherwise. Exporting
folds it afterwards, and the clusters are lost: the notes below the table say so.

Recipes: prune(0.5), cluster(16), cluster(16, block_size=64), prune(0.5)+cluster(16),
qat, qat('static_range'), prune(0.5)+cluster(16)+qat. A recipe that ends in qat is
shipped in int8 too. A recipe with quotes in it:

    make experiment NAME=compress ARGS="--model=my.keras --data=my.npz \\
      --recipe=\\\"cluster(16, layers={'stem': None})\\\""
"""

import dataclasses
import hashlib
import pathlib

from experiments._candidates import candidate_rows
from tfcompress import entry_point
from tfcompress.errors import InvalidValueError
from tfcompress.methods import QatConfig
from tfcompress.recipe import parse_recipe, recipe_to_text
from tfcompress.runner.experiment import Experiment, run_experiment
from tfcompress.runner.rows import Row, quantized_targets, standard_targets
from tfcompress.runner.search import Search
from tfcompress.runner.settings import CalibrationSettings, ExperimentSettings
from tfcompress.settings import check_at_least, setting


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings(ExperimentSettings, CalibrationSettings):
    """What the experiment's flags say."""

    model: str | None = setting(None, "The .keras file.")
    data: str | None = setting(None, "File of the examples; TRAIN,TEST for two.")
    recipe: str | None = setting(
        None, "What is done to the model. Default: cluster(16)."
    )
    max_drop: float | None = setting(
        None,
        "Find the smallest file instead that loses no more accuracy than this share, "
        "on the validation split.",
    )
    vocabulary: str | None = setting(
        None,
        "For texts: a tokenizer.json, a folder that holds one, a WordPiece vocabulary, "
        "or the words of Keras's TextVectorization, an entry a line.",
    )
    max_length: int | None = setting(
        None, "Most tokens of a text. Default: the model's, or 128."
    )
    epochs: int = setting(1, "Epochs of fine-tuning; 0 leaves it out.")
    learning_rate: float = setting(1e-4, "Highest learning rate of fine-tuning.")
    batch_size: int = setting(32, "Examples of an optimizer step.")
    fold_batch_norm: str = setting(
        "auto",
        "Whether a BatchNormalization is folded into a layer that the recipe treats "
        "before it is treated; exporting does so afterwards, and what the recipe made "
        "is lost. auto: where it is not trained, and with --max_drop always.",
        choices=("auto", "always", "never"),
    )

    def __post_init__(self):
        super().__post_init__()
        for name in ("model", "data"):
            if getattr(self, name) is None:
                raise InvalidValueError(f"--{name} is needed. --help says more.")
        check_at_least(self, 0, "epochs")
        if self.max_drop is None:
            return
        if self.recipe is not None:
            raise InvalidValueError(
                f"--max_drop tries recipes of its own; leave --recipe={self.recipe!r} "
                "out."
            )
        if not 0 <= self.max_drop < 1:
            raise InvalidValueError(
                "--max_drop must be a share from 0 to below 1, such as 0.01 for a "
                f"point of accuracy, got {self.max_drop!r}."
            )


_DEFAULT_LENGTH = 128
_FOLD_BATCH_NORM = {"auto": "auto", "always": True, "never": False}
_TEXT_SUFFIXES = (".json", ".txt")  # of a folder that holds a tokenizer


def make_rows(steps, settings):
    """Returns the experiment's rows.

    Args:
        steps: tuple of configs, the recipe.
        settings: `Settings`.
    Raises:
        InvalidValueError: if the recipe prunes during training, and there is none.
    """
    recipe, epochs = recipe_to_text(steps), settings.epochs
    fold_batch_norm = _FOLD_BATCH_NORM[settings.fold_batch_norm]
    if isinstance(steps[-1] if steps else None, QatConfig):
        targets = quantized_targets(
            settings.formats, settings.codings, steps[-1].scheme
        )
    else:
        targets = standard_targets(settings.formats, settings.codings)
    rows = [Row(name="original", trains=False, is_timed=True, targets=targets)]
    is_gradual = any(getattr(step, "is_gradual", False) for step in steps)
    if is_gradual and not epochs:
        raise InvalidValueError(
            f"The recipe {recipe!r} prunes during training: --epochs must be above 0."
        )
    if not is_gradual:
        one_shot = Row(
            name="compressed",
            parent="original",
            recipe=recipe,
            trains=False,
            is_timed=not epochs,
            fold_batch_norm=fold_batch_norm,
            targets=targets,
        )
        rows.append(one_shot)
    if epochs:
        control = Row(name="original_finetuned", parent="original", targets=targets[:1])
        finetuned = Row(
            name="compressed_finetuned",
            parent="original",
            recipe=recipe,
            control=control.name,
            is_timed=True,
            fold_batch_norm=fold_batch_norm,
            targets=targets,
        )
        rows += [control, finetuned]
    return tuple(rows)


def main(settings):
    """Runs the experiment; returns the exit status."""
    rows, search = _rows_and_search(settings)
    recipe = rows[-1].recipe if search is None else ""
    derived = {"recipe": recipe or None}
    # Another model or vocabulary under the same name is another run.
    for name in ("model", "vocabulary"):
        if (path := getattr(settings, name)) is not None:
            derived[f"{name}_sha256"] = _digest(pathlib.Path(path))
    return run_experiment(
        Experiment(
            name="compress",
            default_dataset=settings.data,
            rows=rows,
            search=search,
            calibration=settings.calibration(settings.seed),
            make_task=lambda dataset: _make_task(dataset, settings, recipe),
            load_dataset=lambda: _load(settings),
            choose=lambda records: _choose(records, rows, search),
        ),
        settings,
        derived,
    )


def _choose(records, rows, search):
    """Returns the record of the smallest file that holds, or of the compressed row."""
    if search is not None:
        found = [record for record in records if record["search"]["holds"]]
    else:
        found = [
            record
            for record in records
            if record["row"] == rows[-1].name
            and record["format"] != "keras"
            and record["status"] == "ok"
        ]
    return min(found, key=lambda record: record["size"]["file_bytes"], default=None)


def _rows_and_search(settings):
    """Returns the rows, and the `Search` among them or `None`."""
    if settings.max_drop is None:
        steps = parse_recipe(settings.recipe or "cluster(16)")
        return make_rows(steps, settings), None
    format = settings.formats[0]
    targets = standard_targets((format,), ("dense",))
    original = Row(name="original", trains=False, is_timed=True, targets=targets)
    # Of a file whose clusters exporting undoes there is nothing to find.
    fold_batch_norm = settings.fold_batch_norm != "never"
    candidates = tuple(
        dataclasses.replace(row, fold_batch_norm=fold_batch_norm)
        for row in candidate_rows(format, bool(settings.epochs), settings.seed)
    )
    names = tuple(row.name for row in candidates)
    return (original, *candidates), Search(candidates=names, max_drop=settings.max_drop)


def _digest(path):
    """Returns the start of the hash of a file, or of a folder's texts; None if none."""
    if path.is_file():
        files = [path]
    else:
        files = sorted(each for each in path.glob("*") if each.suffix in _TEXT_SUFFIXES)
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16] if files else None


def _load(settings):
    """Returns the `Dataset` of the file or files."""
    from tfcompress.data.array_files import load_from_arrays
    from tfcompress.data.dataset import SplitOptions
    from tfcompress.data.files import load_from_files

    split = SplitOptions(seed=settings.seed, limit=settings.limit)
    if settings.data.endswith(".npz"):
        return load_from_arrays(settings.data, split)
    columns = (settings.text_column, settings.label_column)
    return load_from_files(settings.data, split, columns=columns)


def _make_task(dataset, settings, recipe):
    from tfcompress.compress import check_recipe
    from tfcompress.data.vocabulary_file import tokenizer_from_file
    from tfcompress.models.keras_file import load_keras_file
    from tfcompress.runner.own_model import TEXT, OwnModelTask, has_mask, prepare_model
    from tfcompress.training import TrainingConfig

    model = prepare_model(load_keras_file(settings.model), dataset)
    check_recipe(model, recipe)
    tokenizer = None
    if TEXT in dataset.train.inputs:
        if settings.vocabulary is None:
            raise InvalidValueError(
                "--vocabulary is needed for texts: the file of the tokenizer that the "
                "model was trained with. --help says which kinds there are."
            )
        fixed = model.inputs[0].shape[1]
        length = settings.max_length or fixed or _DEFAULT_LENGTH
        tokenizer = tokenizer_from_file(settings.vocabulary, length)
    config = TrainingConfig(
        epochs=max(settings.epochs, 1),
        batch_size=settings.batch_size,
        learning_rate=settings.learning_rate,
        schedule="linear",
        warmup_fraction=0.1,
        bucket_by_length=tokenizer is not None and has_mask(model),
        seed=settings.seed,
    )
    return OwnModelTask(model, dataset, config, tokenizer)


if __name__ == "__main__":
    entry_point.run(main, Settings)
