"""Counts, shares, days and names as people read them."""

import pytest

from pushloss_pipeline.domain.words import number
from pushloss_pipeline.report.words import in_sentence, percent, signed, signed_percent


def plain(text: str) -> str:
    """The text with ordinary spaces."""
    return text.replace("\u00a0", " ")


def test_counts_have_separators_and_real_minus_signs() -> None:
    """Large counts can be read, falls be told from hyphens."""
    assert ["1,234,567", "−1,234", "+1,234", "±0"] == [
        number(1_234_567),
        number(-1234),
        signed(1234),
        signed(0),
    ]


@pytest.mark.parametrize(
    ("share", "words"),
    [
        (0, "0 %"),
        (0.0001, "under 0.1 %"),
        (0.0123, "1.2 %"),
        (0.0996, "10 %"),
        (0.42, "42 %"),
        (0.9999, "over 99 %"),
        (1.0, "100 %"),
    ],
)
def test_shares_are_short_and_never_round_up_to_all(share: float, words: str) -> None:
    """What is nearly all is not told as all."""
    assert words == plain(percent(share))


@pytest.mark.parametrize(
    ("change", "before", "words"),
    [
        (38, 100, "+38 %"),
        (-5, 100, "−5.0 %"),
        (1, 10**6, "±0 %"),
        (9, 0, ""),
        (1100, 100, "×12"),
    ],
)
def test_changes_are_told_as_shares_of_before(
    change: int, before: int, words: str
) -> None:
    """Nothing before has no share."""
    assert words == plain(signed_percent(change, before))


def test_phrases_fit_into_sentences() -> None:
    """Acronyms stay, other phrases begin small."""
    assert "certificate rejected" == in_sentence("Certificate rejected.")
    assert "APNs closing" == in_sentence("APNs closing")
    assert "FCM overloaded" == in_sentence("FCM overloaded")
