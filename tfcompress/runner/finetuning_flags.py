"""The flags of experiments that fine-tune a baseline in several ways.

A module takes them over by `flags.adopt_module_key_flags(finetuning_flags)`.
"""

from absl import flags

from tfcompress.runner.flags import check_at_least
from tfcompress.runner.rows import choose_rows

# A model that is trained already moves less.
_SHARE_OF_LEARNING_RATE = 0.6

flags.DEFINE_integer("finetune_epochs", 1, "Epochs of fine-tuning, and of the control.")
flags.DEFINE_float(
    "finetune_learning_rate",
    None,
    "Highest learning rate of fine-tuning. Default: 0.6 times --learning_rate.",
)
flags.DEFINE_list(
    "rows", None, "Rows to make, with those that they start from. Default: all."
)


def finetuning_settings(learning_rate):
    """Returns what the parsed flags say of fine-tuning.

    Args:
        learning_rate: of the baseline's training.
    Returns:
        Dict of `finetune_epochs` and `finetune_learning_rate`, for the run id.
    Raises:
        InvalidValueError: if there is no epoch.
    """
    settings = {
        name: flags.FLAGS[name].value
        for name in ("finetune_epochs", "finetune_learning_rate")
    }
    check_at_least("finetune_epochs", settings["finetune_epochs"], 1)
    if settings["finetune_learning_rate"] is None:
        settings["finetune_learning_rate"] = _SHARE_OF_LEARNING_RATE * learning_rate
    return settings


def rows_from_flags(rows):
    """Returns those of `rows` that --rows names, or all.

    Raises:
        InvalidValueError: if a name is no row's.
    """
    names = flags.FLAGS.rows
    return rows if names is None else choose_rows(rows, names)


def make_bert_task(dataset, settings, seed):
    """Returns the `BertTask` whose rows are fine-tuned as the flags say.

    Args:
        dataset: `Dataset` of texts.
        settings: dict of `bert_settings` and `finetuning_settings`.
        seed: int.
    """
    from tfcompress.runner.bert_classification import BertTask

    finetuning = {
        "epochs": settings["finetune_epochs"],
        "learning_rate": settings["finetune_learning_rate"],
    }
    return BertTask(dataset, settings, seed=seed, finetuning=finetuning)
