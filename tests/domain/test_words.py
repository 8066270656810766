"""Days, lists and platforms as people read them."""

from datetime import date, timedelta

import pytest

from pushloss_pipeline.domain.words import days_in_words, listed, platform_name


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
