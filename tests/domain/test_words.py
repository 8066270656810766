"""Days, lists, platforms and texts of others as people read them."""

import json
from datetime import date, timedelta

import pytest

from pushloss_pipeline.domain.words import (
    days_in_words,
    in_one_line,
    listed,
    platform_name,
    visible,
)


def plain(text: str) -> str:
    """The text with ordinary spaces."""
    return text.replace("\u00a0", " ")


@pytest.mark.parametrize(
    ("days", "words"),
    [
        ([], ""),
        ([17], "17 November"),
        ([17, 18], "17 and 18 November"),
        ([18, 17, 19], "17–19 November"),
        ([3, 9, 10, 11, 30], "3, 9–11 and 30 November"),
        ([30, 31, 32], "30 November – 2 December"),
        ([29, 33], "29 November and 3 December"),
    ],
)
def test_days_are_told_as_spans(days: list[int], words: str) -> None:
    """Runs of days are spans; each month is named once."""
    first = date(2026, 11, 1)
    dates = [first + timedelta(days=day - 1) for day in days]

    assert words == plain(days_in_words(dates))


def test_platforms_have_their_own_spelling() -> None:
    """Names as the vendors write them, numbers for those without."""
    told = [platform_name(name) for name in ("apns", "vivo", "honor", "platform_9")]

    assert ["APNs", "vivo", "HONOR", "Platform 9"] == told


def test_lists_fit_into_sentences() -> None:
    """The last one stands after `and`."""
    assert "a, b and c" == listed(["a", "b", "c"])


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("\x1b[2J\x1b]52;c;cm0=\x07", r"\u001b[2J\u001b]52;c;cm0=\u0007"),
        ("\x9b2J\x7f", r"\u009b2J\u007f"),
        ("good\rbad\b\tend", r"good\rbad\b\tend"),
        ("abc\u202efdp.exe\u2069", r"abc\u202efdp.exe\u2069"),
        ("a\0b\u2028c\ufeff", r"a\u0000b\u2028c\ufeff"),
        ("\U000e0041", r"\udb40\udc41"),
        ("two\nlines", "two\nlines"),
        ("用户 关闭\u3000了 👩‍👧 עברית", "用户 关闭\u3000了 👩‍👧 עברית"),
        ("", ""),
    ],
)
def test_what_steers_a_terminal_is_shown_instead(text: str, told: str) -> None:
    """Escapes, controls and turns of direction become visible, all else stays."""
    assert told == visible(text)
    assert json.loads(f'"{told}"', strict=False) == text


def test_a_line_stays_one() -> None:
    """Whatever ends a line somewhere is a blank here."""
    assert "a b c d e" == in_one_line("a\nb\r\nc\u2028d\x85\x1ee")
