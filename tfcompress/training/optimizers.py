"""Stock optimizers, so that a saved model loads without this package."""

# What the libraries call biases and the parameters of normalizations.
_NOT_DECAYED = ("bias", "gamma", "beta", "scale")


def make_optimizer(library, model, config):
    """Returns the optimizer of `config`, of the model's own library.

    Args:
        library: module `keras` or `tf_keras`.
        model: built model of it.
        config: `TrainingConfig`.
    Returns:
        `library.optimizers.Adam` or `AdamW`, built. Where the norm is clipped, a row
        of an embedding that occurs twice in a batch counts as two gradients, as both
        libraries have it.
    """
    options = {
        "learning_rate": config.learning_rate,
        "global_clipnorm": config.clip_norm,
    }
    if config.optimizer == "adam":
        optimizer = library.optimizers.Adam(**options)
    else:
        optimizer = library.optimizers.AdamW(
            weight_decay=config.weight_decay, **options
        )
        optimizer.exclude_from_weight_decay(
            [v for v in model.trainable_variables if not is_decayed(v.name)]
        )
    optimizer.build(model.trainable_variables)
    return optimizer


def is_decayed(name):
    """Whether weight decay acts on a variable of this name.

    Args:
        name: `variable.name` of either library, such as `"kernel"` or
            `"layer_norm/gamma:0"`.

    >>> [is_decayed(name) for name in ("kernel", "query/bias:0", "norm/gamma")]
    [True, False, False]
    """
    return not name.split(":")[0].endswith(_NOT_DECAYED)
