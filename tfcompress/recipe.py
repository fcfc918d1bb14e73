"""Recipes: the steps of a compression as text, as configs and as JSON.

The three say the same and each becomes each: `"cluster(16)"`,
`(ClusterConfig(num_clusters=16),)` and `[{"method": "cluster", "num_clusters": 16}]`.
In the text a step's first argument is the first field of its config; the others go by
name: `"cluster(16, centroid_init='linear', layers={'stem': None})"`.
"""

import ast
import dataclasses
import difflib

from tfcompress.errors import InvalidValueError
from tfcompress.layer_rules import LayerRules
from tfcompress.methods import METHODS

_CONFIGS = {function.__name__: config for config, function in METHODS.items()}


def parse_recipe(recipe):
    """Turns a recipe in any of its forms into configs.

    Args:
        recipe: text, a config, a sequence of configs, or a list of dicts. Empty: no
            step, which is the control.
    Returns:
        Tuple of configs, in the order in which they run.
    Raises:
        InvalidValueError: if a step, a field or a value is not known, or the order
            cannot hold.

    >>> parse_recipe("cluster(16)")[0].num_clusters
    16
    >>> parse_recipe("")
    ()
    """
    if isinstance(recipe, str):
        steps = _parse_text(recipe)
    elif type(recipe) in METHODS:
        steps = (recipe,)
    else:
        steps = tuple(_parse_step(step) for step in recipe)
    names = [METHODS[type(step)].__name__ for step in steps]
    for name in names:
        if names.count(name) > 1:
            raise InvalidValueError(
                f"The recipe {recipe_to_text(steps)!r} has the step {name!r} twice: "
                "the later one would undo what the earlier made. Name it once."
            )
    return steps


def recipe_to_text(recipe):
    """Writes configs as recipe text, fields at their default left out.

    >>> recipe_to_text(parse_recipe("cluster(num_clusters=8)"))
    'cluster(8)'
    """
    return "+".join(_step_to_text(step) for step in recipe)


def recipe_to_json(recipe):
    """Writes configs as a list of dicts with every field."""
    return [
        {"method": METHODS[type(step)].__name__}
        | {name: _plain(value) for name, value in _fields(step).items()}
        for step in recipe
    ]


def _fields(config):
    return {f.name: getattr(config, f.name) for f in dataclasses.fields(config)}


def _plain(value):
    return value.to_dict() if isinstance(value, LayerRules) else value


def _step_to_text(config):
    first, *others = dataclasses.fields(config)
    arguments = [repr(getattr(config, first.name))]
    for field in others:
        value = getattr(config, field.name)
        if value != _default(field):
            arguments.append(f"{field.name}={_plain(value)!r}")
    return f"{METHODS[type(config)].__name__}({', '.join(arguments)})"


def _default(field):
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


def _parse_step(step):
    if type(step) in METHODS:
        return step
    if not isinstance(step, dict) or "method" not in step:
        raise InvalidValueError(
            f"A recipe's step must be a config or a dict with 'method', got {step!r}."
        )
    arguments = {key: value for key, value in step.items() if key != "method"}
    return _make(step["method"], arguments)


def _parse_text(text):
    if not text.strip():
        return ()
    try:
        node = ast.parse(text.strip(), mode="eval").body
        steps = []
        while isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            steps.append(node.right)
            node = node.left
        return tuple(_parse_call(step) for step in reversed([*steps, node]))
    except InvalidValueError:
        raise
    except (SyntaxError, ValueError) as error:
        raise InvalidValueError(
            f"The recipe {text!r} cannot be read. Write steps with '+' between them, "
            "each a name with its arguments, such as 'cluster(16)'."
        ) from error


def _parse_call(node):
    if isinstance(node, ast.Name):
        return _make(node.id, {})
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
        raise ValueError("not a call")
    arguments = {k.arg: ast.literal_eval(k.value) for k in node.keywords}
    positional = [ast.literal_eval(argument) for argument in node.args]
    if len(positional) > 1:
        raise InvalidValueError(
            f"The step {ast.unparse(node)!r} has more than one unnamed argument. Name "
            "all after the first."
        )
    if positional:
        config = _config_class(node.func.id)
        arguments[dataclasses.fields(config)[0].name] = positional[0]
    return _make(node.func.id, arguments)


def _config_class(name):
    if name not in _CONFIGS:
        raise InvalidValueError(
            f"Unknown method {name!r} in the recipe.{_closest(name, _CONFIGS)} "
            f"Choices: {', '.join(sorted(_CONFIGS))}."
        )
    return _CONFIGS[name]


def _make(name, arguments):
    config = _config_class(name)
    known = {field.name: field for field in dataclasses.fields(config)}
    for key in arguments:
        if key not in known:
            raise InvalidValueError(
                f"{config.__name__} has no field {key!r}.{_closest(key, known)} "
                f"Fields: {', '.join(known)}."
            )
    if isinstance(rules := arguments.get("layers"), dict):
        arguments = arguments | {"layers": LayerRules(rules)}
    missing = [
        key
        for key, field in known.items()
        if key not in arguments and _default(field) is dataclasses.MISSING
    ]
    if missing:
        raise InvalidValueError(
            f"The step {name!r} needs {missing[0]}: write {name}(...) with it."
        )
    return config(**arguments)


def _closest(name, choices):
    close = difflib.get_close_matches(str(name), choices, n=1)
    return f" Did you mean {close[0]!r}?" if close else ""
