"""Recipes: the steps of a compression as text, as configs and as JSON.

The three say the same and each becomes each: `"cluster(16)"`,
`(ClusterConfig(num_clusters=16),)` and `[{"method": "cluster", "num_clusters": 16}]`.
In the text a step's first argument is the first field of its config; the others go by
name: `"cluster(16, centroid_init='linear', layers={'stem': None})"`. Steps run in their
order, and each keeps what those before it made: `"prune(0.5)+cluster(16)"`.
"""

import ast
import contextlib
import dataclasses
import difflib
import itertools

from tfcompress.errors import InvalidValueError
from tfcompress.layer_rules import LayerRules
from tfcompress.limits import shown
from tfcompress.methods import METHODS, is_config, method_of

_LITERALS = (ast.Constant, ast.UnaryOp, ast.List, ast.Tuple, ast.Dict, ast.Set)
# Rules for each of 400 layers of a transformer, by name, have 15,000.
MAX_CHARACTERS = 50_000
_MAX_SHOWN = 500  # characters of a recipe in an error
_NUM_QUOTED = 20  # characters of a recipe that an error shows


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
    elif is_config(recipe):
        steps = (recipe,)
    elif isinstance(recipe, list | tuple):
        steps = tuple(_parse_step(step) for step in recipe)
    else:
        raise InvalidValueError(
            "A recipe must be a text such as 'cluster(16)', a config, or a list of "
            f"them, got {shown(recipe)}."
        )
    _check_order(steps)
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
        {"method": method_of(step).name}
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
    return f"{method_of(config).name}({', '.join(arguments)})"


def _default(field):
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


def _parse_step(step):
    if is_config(step):
        return step
    if not isinstance(step, dict) or "method" not in step:
        raise InvalidValueError(
            f"A recipe's step must be a config or a dict with 'method', got "
            f"{shown(step)}."
        )
    arguments = {key: value for key, value in step.items() if key != "method"}
    return _make(step["method"], arguments)


def _check_order(steps):
    """Refuses steps of which a later one would undo what an earlier one made."""
    text = recipe_to_text(steps)
    names = [method_of(step).name for step in steps]
    for name in names:
        if names.count(name) > 1:
            raise InvalidValueError(
                f"The recipe {text!r} has the step {name!r} twice: the later one would "
                "undo what the earlier made. Name it once."
            )
    losses = _losses(steps)
    if not losses:
        return
    earlier, later, trait = losses[0]
    # Of equally good orders the first is the one that was given.
    best = min(itertools.permutations(steps), key=_badness)
    if best == steps:
        advice = method_of(later).engine(later).loses[trait]
        raise InvalidValueError(f"The recipe {text!r} {advice}")
    raise InvalidValueError(
        f"The recipe {text!r} cannot hold: {method_of(later).name!r} would undo what "
        f"{method_of(earlier).name!r} made. Write {recipe_to_text(best)!r}."
    )


def _badness(steps):
    """Returns by what orders are compared: first, by what another order mends."""
    losses = _losses(steps)
    mendable = [x for x in losses if x[2] not in method_of(x[1]).engine(x[1]).loses]
    return len(mendable), len(losses)


def _losses(steps):
    """Returns what steps undo: tuples of earlier step, later step and trait."""
    return [
        (earlier, later, trait)
        for number, later in enumerate(steps)
        for earlier in steps[:number]
        for trait in sorted(method_of(earlier).made_by(earlier))
        if trait not in method_of(later).kept_by(later)
    ]


class _Text:
    """A recipe's text, for errors that point into it."""

    def __init__(self, text):
        self.stripped = text.strip()
        self._text = text
        self._start = len(text) - len(text.lstrip())

    def error(self, message, line, column):
        """Returns an error that says where the mistake is.

        Args:
            message: what is wrong there, and what to write.
            line: line of the stripped text, from 1.
            column: character of that line, from 0.
        """
        before = "".join(self.stripped.splitlines(keepends=True)[: line - 1])
        at = min(self._start + len(before) + column, len(self._text))
        place = (
            repr(self._text[at : at + _NUM_QUOTED]) if self._text[at:] else "its end"
        )
        return InvalidValueError(
            f"The recipe {_cut(self._text)} has a mistake at character {at + 1}, "
            f"{place}: {message}"
        )

    def check_characters(self):
        """Refuses what is no character of a text: a NUL, half of a pair."""
        for index, character in enumerate(self._text):
            if character == "\0" or "\ud800" <= character <= "\udfff":
                raise InvalidValueError(
                    f"The recipe {_cut(self._text)} has a mistake at character "
                    f"{index + 1}, {character!r}: it is no character. Leave it out."
                )

    def too_deep(self):
        """Returns the error for a text that is nested deeper than Python parses."""
        return InvalidValueError(
            f"The recipe {_cut(self._text)} is nested too deep, or has too many steps. "
            "Write steps with '+' between them, such as 'prune(0.5)+cluster(16)'."
        )

    @contextlib.contextmanager
    def place(self, node):
        """Lets an error that is raised inside the block point at a node."""
        try:
            yield
        except InvalidValueError as error:
            raise self.error_at(node, str(error)) from error

    def error_at(self, node, message):
        """Returns the error for a node of the syntax tree."""
        line = self.stripped.splitlines()[node.lineno - 1]
        # Python counts the bytes of UTF-8 there.
        column = len(line.encode()[: node.col_offset].decode())
        return self.error(message, node.lineno, column)


def _cut(text):
    """Returns a recipe in quotes, its beginning if it is long."""
    return repr(text) if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]!r}..."


def _parse_text(text):
    if len(text) > MAX_CHARACTERS:
        raise InvalidValueError(
            f"The recipe {shown(text)} has {len(text):,} characters, and at most "
            f"{MAX_CHARACTERS:,} are read. Give rules for layers as regular "
            "expressions, or the recipe as configs."
        )
    if not text.strip():
        return ()
    text = _Text(text)
    text.check_characters()
    try:
        node = ast.parse(text.stripped, mode="eval").body
    except (RecursionError, MemoryError, ValueError) as error:
        raise text.too_deep() from error
    except SyntaxError as error:
        # An offset of 0 stands for the end, which came too soon.
        column = error.offset - 1 if error.offset else len(text.stripped)
        raise text.error(
            f"{error.msg}. Write steps with '+' between them, each a name with its "
            "arguments, such as 'prune(0.5)+cluster(16)'.",
            error.lineno,
            column,
        ) from error
    steps = []
    while isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        steps.append(node.right)
        node = node.left
    return tuple(_parse_call(text, step) for step in reversed([*steps, node]))


def _parse_call(text, node):
    """Turns one step's syntax tree into its config."""
    call = node if isinstance(node, ast.Call) else ast.Call(node, [], [])
    if not isinstance(call.func, ast.Name):
        raise text.error_at(
            node,
            "a step must be a method's name with its arguments, and '+' stands between "
            "two, as in 'prune(0.5)+cluster(16)'.",
        )
    with text.place(node):
        config = _config_class(call.func.id)
    if len(call.args) > 1:
        raise text.error_at(
            call.args[1],
            "the step has more than one unnamed argument. Name all after the first, as "
            "in 'cluster(16, seed=1)'.",
        )
    first = dataclasses.fields(config)[0].name
    given = [(first, value, value) for value in call.args]
    given += [(keyword.arg, keyword, keyword.value) for keyword in call.keywords]
    arguments = {}
    for name, argument, value in given:
        if name in arguments:
            raise text.error_at(argument, f"{name} is given twice.")
        with text.place(argument):
            _check_field(config, name)
        arguments[name] = _literal(text, value)
    with text.place(node):
        return _make(call.func.id, arguments)


def _literal(text, node):
    try:
        return ast.literal_eval(node)
    except (RecursionError, MemoryError) as error:
        raise text.too_deep() from error
    except (ValueError, TypeError) as error:
        parts = (part for part in ast.walk(node) if isinstance(part, ast.expr))
        wrong = next((p for p in parts if not isinstance(p, _LITERALS)), node)
        raise text.error_at(
            wrong,
            "a value must be a number, a text in quotes, True, False, None, or a list "
            "or dict of such.",
        ) from error


def _config_class(name):
    if not isinstance(name, str) or name not in METHODS:
        raise InvalidValueError(
            f"Unknown method {shown(name)}.{_closest(name, METHODS)} "
            f"Choices: {', '.join(sorted(METHODS))}."
        )
    return METHODS[name].config


def _check_field(config, name):
    known = [field.name for field in dataclasses.fields(config)]
    if name not in known:
        raise InvalidValueError(
            f"{config.__name__} has no field {name!r}.{_closest(name, known)} "
            f"Fields: {', '.join(known)}."
        )


def _make(name, arguments):
    config = _config_class(name)
    for key in arguments:
        _check_field(config, key)
    rules = arguments.get("layers", LayerRules())
    if isinstance(rules, dict):
        arguments = arguments | {"layers": LayerRules(rules)}
    elif not isinstance(rules, LayerRules):
        raise InvalidValueError(
            f"{config.__name__}.layers must be a dict of rules such as "
            f"{{'stem': None}}, got {rules!r}."
        )
    for field in dataclasses.fields(config):
        if field.name not in arguments and _default(field) is dataclasses.MISSING:
            raise InvalidValueError(
                f"The step {name!r} needs {field.name}: write {name}(...) with it."
            )
    return config(**arguments)


def _closest(name, choices):
    close = difflib.get_close_matches(str(name), choices, n=1)
    return f" Did you mean {close[0]!r}?" if close else ""
