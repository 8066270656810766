"""Scripted answers: rules that tests put in front of the truth."""

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from pushloss_pipeline.simulator.faults import Fault, find_fault

_CONDITIONS = {"sdk_app_id", "day", "times"}
_OUTCOMES = {
    "error_code",
    "http_status",
    "body",
    "body_base64",
    "empty",
    "close",
    "fault",
}
_BODIES = {"body", "body_base64"}
_DETAILS = {"error_info", "headers", "delay_seconds"}


class ScriptError(ValueError):
    """A rule that cannot be understood."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One scripted answer, and the calls it is meant for (None: any)."""

    sdk_app_id: int | None = None
    day: date | None = None
    times: int | None = 1
    error_code: int | None = None
    error_info: str = ""
    http_status: int | None = None
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes | None = None
    is_empty: bool = False
    delay_seconds: float = 0.0
    fault: Fault | None = None

    def fits(self, sdk_app_id: int | None, day: date | None) -> bool:
        """Tell whether a call for this app and day is meant."""
        return self.sdk_app_id in (None, sdk_app_id) and self.day in (None, day)


class Script:
    """The rules still to be told, first come first served."""

    def __init__(self, rules: Sequence[Rule] = ()) -> None:
        self._left: list[tuple[Rule, int | None]] = [(r, r.times) for r in rules]

    def take(self, sdk_app_id: int | None, day: date | None) -> Rule | None:
        """Use up one turn of the first rule that fits; None where none does."""
        for place, (rule, times) in enumerate(self._left):
            if not rule.fits(sdk_app_id, day):
                continue
            if times == 1:
                del self._left[place]
            elif times is not None:
                self._left[place] = (rule, times - 1)
            return rule
        return None


def read_rules(items: object) -> tuple[Rule, ...]:
    """Read rules as the control endpoint takes them; ScriptError where wrong."""
    if not isinstance(items, list | tuple):
        raise ScriptError("a script is a list of rules")
    return tuple(read_rule(item) for item in items)


def read_rule(item: object) -> Rule:
    """Read conditions and one outcome or a delay; ScriptError where wrong."""
    if not isinstance(item, Mapping):
        raise ScriptError("a rule is an object")
    unknown = set(item) - _CONDITIONS - _OUTCOMES - _DETAILS
    if unknown:
        raise ScriptError(f"unknown in a rule: {', '.join(sorted(map(str, unknown)))}")
    _check_outcome(item)
    try:
        return _built(item)
    except (TypeError, ValueError, AttributeError, binascii.Error) as exc:
        raise ScriptError(f"a rule has a wrong value: {exc}") from exc


def _check_outcome(item: Mapping[str, object]) -> None:
    outcomes = set(item) & _OUTCOMES
    # A status may carry a body, every other outcome stands alone.
    if outcomes & _BODIES:
        outcomes -= {"http_status"}
    if len(outcomes) > 1:
        raise ScriptError(f"a rule has one outcome, not {', '.join(sorted(outcomes))}")
    if not outcomes and "delay_seconds" not in item:
        raise ScriptError("a rule needs an outcome or delay_seconds")


def _built(item: Mapping[str, object]) -> Rule:
    day = item.get("day")
    times = _optional_int(item.get("times", 1))
    if times is not None and times < 1:
        raise ScriptError("times is at least 1, or null for ever")
    return Rule(
        sdk_app_id=_optional_int(item.get("sdk_app_id")),
        day=None if day is None else date.fromisoformat(str(day)),
        times=times,
        error_code=_optional_int(item.get("error_code")),
        error_info=str(item.get("error_info", "")),
        http_status=_optional_int(item.get("http_status")),
        headers=_read_headers(item.get("headers", {})),
        body=_read_body(item),
        is_empty=item.get("empty") is True,
        delay_seconds=float(str(item.get("delay_seconds", 0))),
        fault=_read_fault(item),
    )


def _read_fault(item: Mapping[str, object]) -> Fault | None:
    if item.get("close") is True:
        return find_fault("hang_up")
    return find_fault(str(item["fault"])) if "fault" in item else None


def _optional_int(value: object) -> int | None:
    if value is not None and type(value) is not int:
        raise ScriptError(f"{value!r} is not an integer")
    return value


def _read_headers(value: object) -> tuple[tuple[str, str], ...]:
    if not isinstance(value, Mapping):
        raise ScriptError("headers are an object")
    return tuple((str(name), str(text)) for name, text in value.items())


def _read_body(item: Mapping[str, object]) -> bytes | None:
    if "body" in item:
        return str(item["body"]).encode()
    if "body_base64" in item:
        return base64.b64decode(str(item["body_base64"]), validate=True)
    return None
