"""The words for what does not become leaves of tf_keras: kept as it is, or refused.

They depend on what it is: a layer of Keras or keras-hub, a class of the user's own, or
an operation. A rule is offered for the last step in Python alone, since only there can
one be given.
"""

import re

# Layers of keras.layers that hand their inputs on at inference, whatever their
# arguments. RandomCrop does not even crop there.
_IDENTITIES = """
    AugMix CutMix MixUp RandAugment RandomBrightness RandomColorDegeneration
    RandomColorJitter RandomContrast RandomCrop RandomElasticTransform RandomErasing
    RandomFlip
    RandomGaussianBlur RandomGrayscale RandomHue RandomInvert RandomPerspective
    RandomPosterization RandomRotation RandomSaturation RandomSharpness RandomShear
    RandomTranslation RandomZoom
"""
IDENTITIES = frozenset(_IDENTITIES.split())

_REFUSED = {
    "Lambda": "its Python function can be neither copied nor saved; write it with "
    "keras.ops, or as a layer class of your own",
    "TFSMLayer": "it runs a SavedModel, which has no layers to compress; load the "
    "model that it was made from",
}
_COLOURS = re.compile(r"\x1b\[\d+m")
_MAX_ERROR = 120


def why_kept(source, refusal=None):
    """Says why a layer or operation crosses as it is.

    Args:
        source: the Keras 3 object.
        refusal: what its rule could not do, as of `Leaves.unsupported`, or `None` where
            the class has no rule.
    Returns:
        The reason, for a row of the report.
    """
    import keras

    name = keras_name(source) or type(source).__name__
    if not isinstance(source, keras.Operation):
        return "crosses as it is: a function without weights"
    if not isinstance(source, keras.layers.Layer):
        return "crosses as it is: an operation without weights"
    if keras_name(source) in IDENTITIES:
        return (
            "crosses as it is: the identity at inference; in fine-tuning it works as "
            "it does in Keras"
        )
    if not source.weights:
        return "crosses as it is: it has no weights"
    offer = f"tfcompress.compress(model, recipe, rules={{{name}: rule}})"
    if refusal is not None:
        return f"crosses as it is, with its weights: it {refusal}"
    if keras_name(source):
        return f"crosses as it is, with its weights: no rule for keras.layers.{name}"
    whose = "keras-hub's" if is_from(source, "keras_hub") else "own"
    if isinstance(source, keras.Model):
        return (
            "crosses as it is, with its weights: a subclassed model has no graph to "
            "walk; built with keras.Model(inputs, outputs) it could be compressed"
        )
    return (
        f"crosses as it is, with its weights: {whose} class {name} without rule; in "
        f"Python a rule would let it be compressed: {offer}"
    )


def keras_name(source):
    """Gives the class's name in keras.layers, `None` if it is none of them."""
    import keras

    names = (name for name, kind in vars(keras.layers).items() if kind is type(source))
    return next(names, None)


def is_from(source, package):
    """Whether the class is defined in a package."""
    return type(source).__module__.partition(".")[0] == package


def obstacle(source):
    """Says why a layer or operation can cross in no way, `None` if it may.

    Args:
        source: the Keras 3 object.
    Returns:
        What follows its name and class in an error, the remedy after a semicolon.
    """
    name = type(source).__name__
    if name in _REFUSED and keras_name(source) == name:
        return f"cannot cross: {_REFUSED[name]}"
    for attribute, remedy in (
        ("quantization_mode", "cross before model.quantize"),
        ("lora_enabled", "merge LoRA into the kernel first"),
        ("stateful", "make it with stateful=False"),
    ):
        value = getattr(source, attribute, None)
        if value:
            return (
                f"has {attribute}={value!r}, which cannot cross to tf_keras; {remedy}"
            )
    if name == "Reshape" and None in tuple(getattr(source, "newshape", ())):
        return (
            f"has newshape={source.newshape!r}, which Keras cannot compute either; "
            "write -1 in place of the size that is not known"
        )
    if name == "Function" and is_from(source, "keras"):
        return (
            "is a keras.Function, which Keras neither copies nor saves; make it a "
            "keras.Model of the same inputs and outputs"
        )
    return None


def first_words(error):
    """Gives what a foreign error says, in one short line.

    >>> first_words(ValueError("Exception encountered when calling A.call().\\n\\nno"))
    'ValueError: no'
    """
    lines = [_COLOURS.sub("", line).strip() for line in str(error).splitlines()]
    said = [x for x in lines if x and not x.startswith("Exception encountered when")]
    text = said[0] if said else ""
    if len(text) > _MAX_ERROR:
        text = f"{text[:_MAX_ERROR]}..."
    return f"{type(error).__name__}: {text}".rstrip(": .")
