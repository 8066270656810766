"""Counts, shares, days and names as people read them."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import date, timedelta
from itertools import pairwise, zip_longest

from pushloss_pipeline.report.model import Code

NO_BREAK = "\u00a0"
MINUS = "\u2212"
EN_DASH = "\u2013"
MANIFOLD = 9
"""From such a share of before on, a rise is told as a multiple."""

_STAGES = {
    "ready_to_send": "Before sending",
    "post_send_delivered": "After sending",
}
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
_CATEGORIES = {
    "": "Not in the catalogue",
    "token_invalid": "Token no longer valid",
    "app_config": "App configuration",
    "quota_or_rate": "Quota or rate",
    "message_content": "Message content",
    "device_state": "Device or user setting",
    "vendor_outage": "Vendor outage",
    "permission": "Permission",
    "unknown": "Unknown",
}
_STATES = {
    "loaded": "Loaded",
    "empty": "Loaded, no losses",
    "held": "Held",
    "refused": "Refused",
    "failed": "Failed",
    "expired": "Expired",
    "never asked": "Never asked",
}
_EVENTS = {"first_seen": "New", "returned": "Back", "vanished": "Gone"}


def number(count: int) -> str:
    """12,345, with a real minus sign."""
    return f"{count:,}".replace("-", MINUS)


def signed(count: int) -> str:
    """A change: +12,345, or ±0."""
    return f"±{count}" if count == 0 else f"{'+' if count > 0 else ''}{number(count)}"


def percent(share: float) -> str:
    """A share of a whole; what is nearly all never reads 100 %."""
    if 0.995 <= share < 1:
        return f"over{NO_BREAK}99{NO_BREAK}%"
    if 0 < share < 0.0005:
        return f"under{NO_BREAK}0.1{NO_BREAK}%"
    return f"{_rounded(share)}{NO_BREAK}%"


def signed_percent(change_count: int, before_count: int) -> str:
    """How much a change is of what was before; empty where there was nothing.

    +38 %, but ×120 where a percentage would only be a large number.
    """
    if before_count == 0:
        return ""
    share = change_count / before_count
    if share >= MANIFOLD:
        return f"×{1 + share:,.0f}"
    text = _rounded(abs(share))
    if text in ("0", "0.0"):
        return f"±0{NO_BREAK}%"
    return f"{'+' if share > 0 else MINUS}{text}{NO_BREAK}%"


def _rounded(share: float) -> str:
    hundredth = share * 100
    # 9.96 must not become 10.0.
    return f"{hundredth:.1f}" if 0 < hundredth < 9.95 else f"{hundredth:,.0f}"


def counted(count: int, noun: str, plural: str = "") -> str:
    """1 day, 2 days."""
    return f"{number(count)} {noun if count == 1 else plural or noun + 's'}"


def listed(parts: Sequence[str]) -> str:
    """A, b and c."""
    if len(parts) < 2:
        return "".join(parts)
    return f"{', '.join(parts[:-1])} and {parts[-1]}"


def sentence_case(text: str) -> str:
    """The first letter large, all others as they are."""
    return text[:1].upper() + text[1:]


def in_sentence(text: str) -> str:
    """A phrase to go on a sentence with: small first letter, no full stop.

    What starts with an acronym or a name of its own, as APNs does, stays.
    """
    first_word = text.split(" ", 1)[0]
    if first_word[1:].islower() or len(first_word) == 1:
        text = text[:1].lower() + text[1:]
    return text.rstrip(". ")


def platform_name(platform: str) -> str:
    """A vendor as people write it; platform_9 is Platform 9."""
    return _PLATFORMS.get(platform) or sentence_case(platform.replace("_", " "))


def platform_order(platform: str) -> tuple[int, str]:
    """Where a platform stands among others: by the vendor's own numbers."""
    known = list(_PLATFORMS)
    return (known.index(platform) if platform in known else len(known), platform)


def stage_name(stage: str) -> str:
    """A stage in plain words."""
    return _STAGES.get(stage) or sentence_case(stage.replace("_", " "))


def category_name(category: str) -> str:
    """What kind of trouble, in plain words."""
    return _CATEGORIES.get(category) or sentence_case(category.replace("_", " "))


def owner_name(owner: str) -> str:
    """Whose move it is."""
    return sentence_case(owner) or "Not known"


def state_name(state: str) -> str:
    """A day's state."""
    return _STATES.get(state) or sentence_case(state)


def event_name(event: str) -> str:
    """New, Back or Gone."""
    return _EVENTS.get(event) or sentence_case(event.replace("_", " "))


def code_name(code: Code) -> str:
    """APNs 403, with the platform alone where no code is given."""
    if not code.platform:
        return f"{code.err_code or 'losses'} of no platform"
    name = platform_name(code.platform)
    return f"{name} {code.err_code}" if code.err_code else name


def code_in_sentence(code: Code) -> str:
    """The same with its stage, where platforms share the codes of the stage."""
    name = code_name(code)
    if code.platform and code.err_code:
        name = name.replace(" ", NO_BREAK)
    return f"{name} before sending" if code.stage == "ready_to_send" else name


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
        for first, last in _runs(sorted(set(days)))
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


def _runs(days: Sequence[date]) -> Iterator[tuple[date, date]]:
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
