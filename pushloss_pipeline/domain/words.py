"""Counts, days, platforms and texts of others as people read them."""

import json
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, timedelta
from itertools import pairwise, zip_longest

NO_BREAK = "\u00a0"
MINUS = "\u2212"
EN_DASH = "\u2013"
_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Unicode's controls, formats (text direction among them), line ends, half pairs."""
_SEEN_ALL_THE_SAME = frozenset("\n\u200c\u200d")
"""A new line, and the joiners of scripts and emoji."""
_MARKS = re.compile(r"[\\`*_\[\]<&~|]")
_PLATFORMS = {
    "unknown": "Unknown",
    "apns": "APNs",
    "xiaomi": "Xiaomi",
    "huawei": "Huawei",
    "fcm": "FCM",
    "meizu": "Meizu",
    "oppo": "OPPO",
    "vivo": "vivo",
    "honor": "HONOR",
}


def number(count: int) -> str:
    """12,345, with a real minus sign."""
    return f"{count:,}".replace("-", MINUS)


def counted(count: int, noun: str, plural: str = "") -> str:
    """1 day, 2 days."""
    return f"{number(count)} {noun if count == 1 else plural or noun + 's'}"


def listed(parts: Sequence[str]) -> str:
    """A, b and c."""
    if len(parts) < 2:
        return "".join(parts)
    return f"{', '.join(parts[:-1])} and {parts[-1]}"


def visible(text: str) -> str:
    """What others wrote, fit for a terminal: what steers one becomes a JSON escape."""
    if text.isprintable():
        return text
    return "".join(
        json.dumps(char)[1:-1]
        if unicodedata.category(char) in _UNSEEN and char not in _SEEN_ALL_THE_SAME
        else char
        for char in text
    )


def in_one_line(text: str) -> str:
    """The same in a line: nobody can make up a second one."""
    return visible(" ".join(text.split()))


def in_markdown(text: str) -> str:
    """What others wrote, as plain text of a Markdown page: no picture is fetched."""
    return _MARKS.sub(r"\\\g<0>", text)


def sentence_case(text: str) -> str:
    """The first letter large, all others as they are."""
    return text[:1].upper() + text[1:]


def platform_name(platform: str) -> str:
    """A vendor as people write it; platform_9 is Platform 9."""
    return _PLATFORMS.get(platform) or sentence_case(platform.replace("_", " "))


def platform_order(platform: str) -> tuple[int, str]:
    """Where a platform stands among others: by the vendor's own numbers."""
    known = list(_PLATFORMS)
    return (known.index(platform) if platform in known else len(known), platform)


def day_name(day: date) -> str:
    """17 November."""
    return f"{day.day}{NO_BREAK}{day:%B}"


def short_day(day: date) -> str:
    """Tue 17 Nov."""
    return f"{day:%a} {day.day} {day:%b}"


def long_day(day: date) -> str:
    """17 November 2026."""
    return f"{day_name(day)} {day.year}"


def span_name(first: date, last: date) -> str:
    """16-22 November, 30 October - 5 November, with dashes."""
    if first == last:
        return day_name(first)
    if (first.year, first.month) == (last.year, last.month):
        return f"{first.day}{EN_DASH}{day_name(last)}"
    return f"{day_name(first)} {EN_DASH} {day_name(last)}"


def days_in_words(days: Iterable[date]) -> str:
    """3, 9 and 17-19 November: runs of three or more as spans, each month once."""
    spans = [
        span
        for first, last in runs_of_days(sorted(set(days)))
        for span in (
            [(first, last)]
            if (last - first).days != 1
            else [(first, first), (last, last)]
        )
    ]
    parts = [
        _without_month(first, last)
        if following and _in_one_month(first, following[0])
        else span_name(first, last)
        for (first, last), following in zip_longest(spans, spans[1:])
    ]
    return listed(parts)


def runs_of_days(days: Sequence[date]) -> Iterator[tuple[date, date]]:
    """First and last day of each run of days that follow one another."""
    if not days:
        return
    first = days[0]
    for day, following in pairwise(days):
        if following - day != timedelta(days=1):
            yield first, day
            first = following
    yield first, days[-1]


def _in_one_month(first: date, last: date) -> bool:
    return (first.year, first.month) == (last.year, last.month)


def _without_month(first: date, last: date) -> str:
    return str(first.day) if first == last else f"{first.day}{EN_DASH}{last.day}"
