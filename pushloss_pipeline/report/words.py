"""Counts, shares, days and names as people read them."""

from pushloss_pipeline.domain.words import (
    MINUS,
    NO_BREAK,
    number,
    platform_name,
    sentence_case,
)
from pushloss_pipeline.report.model import Code

MANIFOLD = 9
"""From such a share of before on, a rise is told as a multiple."""

_STAGES = {
    "ready_to_send": "Before sending",
    "post_send_delivered": "After sending",
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


def in_sentence(text: str) -> str:
    """A phrase to go on a sentence with: small first letter, no full stop.

    What starts with an acronym or a name of its own, as APNs does, stays.
    """
    first_word = text.split(" ", 1)[0]
    if first_word[1:].islower() or len(first_word) == 1:
        text = text[:1].lower() + text[1:]
    return text.rstrip(". ")


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
