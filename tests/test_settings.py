"""Tests of tfcompress.settings: a dataclass, its flags, and back."""

import dataclasses

import pytest
from absl import flags

from tfcompress.errors import InvalidValueError
from tfcompress.settings import (
    another_default,
    check_at_least,
    check_choices,
    deciding_values,
    flags_of,
    parse_settings,
    setting,
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    name: str = setting("world", "Whom to greet.")
    place: str | None = setting(None, "Where.", decides=False)
    steps: int = setting(6, "Steps.")
    limit: int | None = setting(None, "Most.")
    rate: float = setting(0.5, "Rate.")
    loud: bool = setting(True, "How loud.")
    kind: str = setting("a", "Which.", choices=("a", "b"))
    sizes: tuple[int, ...] = setting((1, 2), "Sizes.")
    formats: tuple[str, ...] = setting((), "Formats.")
    leave: tuple[str, ...] = setting((), "Expressions.", is_repeated=True)


@pytest.mark.parametrize(
    "settings",
    [
        Settings(),
        Settings(name="a b", place="here", steps=3, limit=0, rate=2.0, loud=False),
        Settings(kind="b", sizes=(3,), formats=("x", "y"), leave=("a,b", "c")),
        Settings(sizes=()),
    ],
)
def test_flags_of_settings_give_the_settings(settings):
    assert parse_settings(Settings, flags_of(settings)) == settings


def test_flags_of_defaults_are_none():
    assert flags_of(Settings()) == []


def test_numbers_that_are_none_raise():
    message = "--sizes must be whole numbers with commas between them, got '1,x'"
    with pytest.raises(InvalidValueError, match=message):
        parse_settings(Settings, ["--sizes=1,x"])


@pytest.mark.parametrize("flag", ["--kind=c", "--steps=many", "--other=1"])
def test_flag_that_cannot_be_read_raises(flag):
    with pytest.raises(flags.Error):
        parse_settings(Settings, [flag])


def test_deciding_values_are_json_and_say_nothing_of_where():
    values = deciding_values(Settings(place="here"))
    assert values["sizes"] == [1, 2]
    assert values["limit"] is None
    assert "place" not in values


@pytest.mark.parametrize("rate", [float("nan"), float("inf")])
def test_deciding_values_not_finite_raises(rate):
    with pytest.raises(InvalidValueError, match="--rate must be a finite number"):
        deciding_values(Settings(rate=rate))


def test_another_default_keeps_the_rest():
    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Fewer(Settings):
        steps: int = another_default(Settings, "steps", 3)

    assert Fewer().steps == 3
    assert parse_settings(Fewer, ["--steps=6"]) == Fewer(steps=6)


def test_check_at_least_lets_none_pass():
    check_at_least(Settings(), 6, "steps", "limit")
    with pytest.raises(InvalidValueError, match="--steps must be at least 7, got 6"):
        check_at_least(Settings(), 7, "steps")


def test_check_choices_names_them():
    check_choices(Settings(formats=("x",)), "formats", ("x", "y"))
    with pytest.raises(InvalidValueError, match="--formats must be of y, got 'x'"):
        check_choices(Settings(formats=("x",)), "formats", ("y",))
    with pytest.raises(InvalidValueError, match="--formats is empty. Name at least"):
        check_choices(Settings(), "formats", ("y",))
