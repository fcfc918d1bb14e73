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

from absl import flags

from experiments._candidates import candidate_rows
from tfcompress import entry_point
from tfcompress.errors import InvalidValueError
from tfcompress.methods import QatConfig
from tfcompress.recipe import parse_recipe, recipe_to_text
from tfcompress.runner import calibration_flags
from tfcompress.runner import flags as runner_flags
from tfcompress.runner.experiment import Experiment, run_experiment
from tfcompress.runner.rows import Row, quantized_variants, standard_variants
from tfcompress.runner.search import Search

flags.DEFINE_string("model", None, "The .keras file.")
flags.DEFINE_string("data", None, "File of the examples; TRAIN,TEST for two.")
flags.DEFINE_string("recipe", None, "What is done to the model. Default: cluster(16).")
flags.DEFINE_float(
    "max_drop",
    None,
    "Find the smallest file instead that loses no more accuracy than this share, on "
    "the validation split.",
)
flags.DEFINE_string(
    "vocabulary",
    None,
    "For texts: a tokenizer.json, a folder that holds one, a WordPiece vocabulary, or "
    "the words of Keras's TextVectorization, an entry a line.",
)
flags.DEFINE_integer(
    "max_length", None, "Most tokens of a text. Default: the model's, or 128."
)
flags.DEFINE_integer("epochs", 1, "Epochs of fine-tuning; 0 leaves it out.")
flags.DEFINE_float("learning_rate", 1e-4, "Highest learning rate of fine-tuning.")
flags.DEFINE_integer("batch_size", 32, "Examples of an optimizer step.")
flags.DEFINE_enum(
    "fold_batch_norm",
    "auto",
    ["auto", "always", "never"],
    "Whether a BatchNormalization is folded into a layer that the recipe treats before "
    "it is treated; exporting does so afterwards, and what the recipe made is lost. "
    "auto: where it is not trained, and with --max_drop always.",
)
flags.adopt_module_key_flags(runner_flags)
flags.adopt_module_key_flags(calibration_flags)

_OWN = (
    "model",
    "data",
    "vocabulary",
    "max_length",
    "epochs",
    "learning_rate",
    "batch_size",
    "max_drop",
    "fold_batch_norm",
)
_DEFAULT_LENGTH = 128
_FOLD_BATCH_NORM = {"auto": "auto", "always": True, "never": False}
_TEXT_SUFFIXES = (".json", ".txt")  # of a folder that holds a tokenizer


def make_rows(steps, options, epochs, fold_batch_norm="auto"):
    """Returns the experiment's rows.

    Args:
        steps: tuple of configs, the recipe.
        options: `Options` of the shared flags.
        epochs: of fine-tuning; with 0 nothing is trained.
        fold_batch_norm: as of `tfcompress.compress`, for the compressed rows.
    Raises:
        InvalidValueError: if the recipe prunes during training, and there is none.
    """
    recipe = recipe_to_text(steps)
    if isinstance(steps[-1] if steps else None, QatConfig):
        variants = quantized_variants(
            options.formats, options.codings, steps[-1].scheme
        )
    else:
        variants = standard_variants(options.formats, options.codings)
    rows = [Row(name="original", trains=False, is_timed=True, variants=variants)]
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
            variants=variants,
        )
        rows.append(one_shot)
    if epochs:
        control = Row(
            name="original_finetuned", parent="original", variants=variants[:1]
        )
        finetuned = Row(
            name="compressed_finetuned",
            parent="original",
            recipe=recipe,
            control=control.name,
            is_timed=True,
            fold_batch_norm=fold_batch_norm,
            variants=variants,
        )
        rows += [control, finetuned]
    return tuple(rows)


def main(_):
    """Runs the experiment with the parsed flags; returns the exit status."""
    own = {name: flags.FLAGS[name].value for name in _OWN}
    for name in ("model", "data"):
        if own[name] is None:
            raise InvalidValueError(f"--{name} is needed. --help says more.")
    if flags.FLAGS.dataset is not None:
        raise InvalidValueError("--dataset is of other experiments; give --data=FILE.")
    runner_flags.check_at_least("epochs", own["epochs"], 0)
    options = runner_flags.options_from_flags()
    calibration, of_calibration = calibration_flags.calibration_from_flags(options.seed)
    own |= of_calibration
    rows, search = _rows_and_search(own, options)
    recipe = rows[-1].recipe if search is None else ""
    # Another model or vocabulary under the same name is another run.
    for name in ("model", "vocabulary"):
        if own[name] is not None:
            own[f"{name}_sha256"] = _digest(pathlib.Path(own[name]))
    return run_experiment(
        Experiment(
            name="compress",
            default_dataset=own["data"],
            rows=rows,
            search=search,
            calibration=calibration,
            make_task=lambda dataset: _make_task(dataset, own, options.seed, recipe),
            load_dataset=lambda: _load(own["data"], options),
            choose=lambda records: _choose(records, rows, search),
        ),
        options,
        own | {"recipe": recipe or None},
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


def _rows_and_search(own, options):
    """Returns the rows, and the `Search` among them or `None`, of the flags."""
    recipe, max_drop = flags.FLAGS.recipe, own["max_drop"]
    fold_batch_norm = _FOLD_BATCH_NORM[own["fold_batch_norm"]]
    if max_drop is None:
        steps = parse_recipe(recipe or "cluster(16)")
        return make_rows(steps, options, own["epochs"], fold_batch_norm), None
    if recipe is not None:
        raise InvalidValueError(
            f"--max_drop tries recipes of its own; leave --recipe={recipe!r} out."
        )
    if not 0 <= max_drop < 1:
        raise InvalidValueError(
            f"--max_drop must be a share from 0 to below 1, such as 0.01 for a point "
            f"of accuracy, got {max_drop!r}."
        )
    format = options.formats[0]
    variants = standard_variants((format,), ("dense",))
    original = Row(name="original", trains=False, is_timed=True, variants=variants)
    # Of a file whose clusters exporting undoes there is nothing to find.
    fold_batch_norm = fold_batch_norm is not False
    candidates = tuple(
        dataclasses.replace(row, fold_batch_norm=fold_batch_norm)
        for row in candidate_rows(format, bool(own["epochs"]), options.seed)
    )
    names = tuple(row.name for row in candidates)
    return (original, *candidates), Search(candidates=names, max_drop=max_drop)


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


def _load(data, options):
    """Returns the `Dataset` of the file or files."""
    from tfcompress.data.array_files import load_from_arrays
    from tfcompress.data.dataset import SplitOptions
    from tfcompress.data.files import load_from_files

    split = SplitOptions(seed=options.seed, limit=options.limit)
    if data.endswith(".npz"):
        return load_from_arrays(data, split)
    columns = (options.text_column, options.label_column)
    return load_from_files(data, split, columns=columns)


def _make_task(dataset, own, seed, recipe):
    from tfcompress.compress import check_recipe
    from tfcompress.data.vocabulary_file import tokenizer_from_file
    from tfcompress.models.keras_file import load_keras_file
    from tfcompress.runner.own_model import TEXT, OwnModelTask, has_mask, prepare_model
    from tfcompress.training import TrainingConfig

    model = prepare_model(load_keras_file(own["model"]), dataset)
    check_recipe(model, recipe)
    tokenizer = None
    if TEXT in dataset.train.inputs:
        if own["vocabulary"] is None:
            raise InvalidValueError(
                "--vocabulary is needed for texts: the file of the tokenizer that the "
                "model was trained with. --help says which kinds there are."
            )
        fixed = model.inputs[0].shape[1]
        length = own["max_length"] or fixed or _DEFAULT_LENGTH
        tokenizer = tokenizer_from_file(own["vocabulary"], length)
    config = TrainingConfig(
        epochs=max(own["epochs"], 1),
        batch_size=own["batch_size"],
        learning_rate=own["learning_rate"],
        schedule="linear",
        warmup_fraction=0.1,
        bucket_by_length=tokenizer is not None and has_mask(model),
        seed=seed,
    )
    return OwnModelTask(model, dataset, config, tokenizer)


if __name__ == "__main__":
    entry_point.run(main)
