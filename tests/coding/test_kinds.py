"""Codes are a way to place weights and a way to tell their values."""

import pytest

from tfcompress.coding.kinds import (
    BY_ROW_KINDS,
    CODE_KINDS,
    Bitmap,
    BlockCodebook,
    ChannelCodebook,
    Codebook,
    Everywhere,
    Gaps,
    Plain,
    kind_name,
    kind_names,
)


def test_code_kinds_are_those_that_manifests_have():
    """The order decides between equally small codes: files depend on it."""
    assert CODE_KINDS == (
        "dense",
        "codebook",
        "bitmap",
        "bitmap_codebook",
        "positions",
        "positions_codebook",
        "channel_codebook",
        "block_codebook",
        "bitmap_block_codebook",
        "positions_block_codebook",
    )
    assert BY_ROW_KINDS == ("dense", "codebook", "bitmap_codebook", "block_codebook")


@pytest.mark.parametrize(
    ("places", "values", "name"),
    [
        (Everywhere, Plain, "dense"),
        (Everywhere, ChannelCodebook, "channel_codebook"),
        (Bitmap, Plain, "bitmap"),
        (Gaps, Codebook, "positions_codebook"),
        (Bitmap, BlockCodebook, "bitmap_block_codebook"),
    ],
)
def test_kind_name_is_made_of_both_choices(places, values, name):
    assert kind_name(places, values) == name


@pytest.mark.parametrize("without", [Bitmap, Gaps, BlockCodebook, ChannelCodebook])
def test_kind_names_leave_out_what_is_made_of_a_choice(without):
    left_out = set(CODE_KINDS) - set(kind_names(without=(without,)))
    assert left_out and all(without.name in name for name in left_out)
