"""From a call to the API's answer: pure, the instants are arguments.

Whatever the API refuses, it refuses with HTTP 200 and one of these codes. Their
meaning is the vendor's; which one answers a given fault is partly assumed.

====== ===============================================================================
60002  contenttype is not json, random absent or out of range (assumed)
60003  the body is not JSON
60004  identifier or usersig absent from the URL
60006  sdkappid is not a number
60009  not a POST, or an unknown path under /v4/ (assumed)
60011  over the call frequency of the SDKAppID
60012  sdkappid absent from the URL
70001… the signature, see `usersig`
70020  a well-formed sdkappid that nobody has
90001  the body is JSON, but not an object (assumed)
90009  the identifier is no administrator
90100  StartTime or EndTime absent, ill-typed, in the wrong order, over 7 days apart, in
       the future, or before the retention of 7 days (the last one is assumed)
====== ===============================================================================
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Literal

from pushloss_pipeline.simulator import usersig
from pushloss_pipeline.simulator.catalogue import POST, READY
from pushloss_pipeline.simulator.scenario import Scenario
from pushloss_pipeline.simulator.truth import (
    DAY_SECONDS,
    LossCount,
    Scope,
    day_of,
    day_start,
    window_truth,
)
from pushloss_pipeline.simulator.usersig import Fault

Envelope = Literal["top", "results_object", "results_list", "other_key", "as_printed"]
"""Where the four arrays lie; `as_printed` is the vendor's sample, no valid JSON."""

RETENTION_DAYS = 7
WIDEST_SECONDS = 7 * DAY_SECONDS
OK_TEXT = "sucess"
OVER_FREQUENCY = Fault(60011, "the call frequency of the SDKAppID exceeds the limit")
NOT_AN_API = Fault(60009, "request resource error: check the URL and the method")

_ARRAYS: tuple[tuple[str, str, Scope], ...] = (
    ("ReadyToSendLoss", READY, "overall"),
    ("PostSendDeliveredLoss", POST, "overall"),
    ("PlatformReadyToSendLoss", READY, "platform"),
    ("PlatformPostSendDeliveredLoss", POST, "platform"),
)
_LATEST_SECOND = 2**32 - 1


@dataclass(frozen=True, slots=True)
class Call:
    """One request as it came in; its repr keeps the signature to itself."""

    method: str
    query: Mapping[str, str] = field(repr=False)
    body: bytes
    address: str = field(default="", repr=False)
    """Path and query, as they came."""


@dataclass(frozen=True, slots=True)
class Window:
    """The half-open span of unix seconds a call asks for."""

    start_time: int
    end_time: int

    @property
    def day(self) -> date:
        """The UTC+8 day that the window begins in."""
        return day_of(self.start_time)


@dataclass(frozen=True, slots=True)
class Answer:
    """What the API says: a code, a text, and the rows where the code is 0."""

    error_code: int = 0
    error_info: str = OK_TEXT
    rows: tuple[LossCount, ...] = ()


def respond(
    call: Call, scenario: Scenario, *, now: datetime, signature_now: float
) -> Answer:
    """Answer a call as the API would at `now`; signatures have their own clock."""
    fault = (
        _find_method_fault(call.method)
        or _find_query_fault(call.query)
        or _find_caller_fault(call.query, scenario, signature_now)
    )
    if fault is not None:
        return Answer(*fault)
    window = read_window(call.body)
    if isinstance(window, Fault):
        return Answer(*window)
    fault = _find_time_fault(window, now)
    if fault is not None:
        return Answer(*fault)
    rows = window_truth(
        scenario, int(call.query["sdkappid"]), window.start_time, window.end_time, now
    )
    return Answer(rows=rows)


def _find_method_fault(method: str) -> Fault | None:
    return None if method == "POST" else NOT_AN_API


def _find_query_fault(query: Mapping[str, str]) -> Fault | None:
    if "sdkappid" not in query:
        return Fault(60012, "the request URL lacks the parameter sdkappid")
    if read_app(query) is None:
        return Fault(60006, "sdkappid in the request URL is invalid")
    if not query.get("identifier") or "usersig" not in query:
        return Fault(60004, "the request URL lacks the account or the signature")
    if not _is_random(query.get("random", "")):
        return Fault(60002, "random must be an unsigned 32-bit integer")
    if query.get("contenttype") != "json":
        return Fault(60002, "contenttype must be json")
    return None


def _is_random(text: str) -> bool:
    return _is_digits(text) and int(text) < 2**32


def _is_digits(text: str) -> bool:
    # isdigit alone accepts the digits of other scripts, and int any length of them.
    return text.isascii() and text.isdigit() and len(text) <= 20


def read_app(query: Mapping[str, str]) -> int | None:
    """Return the SDKAppID of a query, None where it holds no number."""
    text = query.get("sdkappid", "")
    return int(text) if _is_digits(text) else None


def _find_caller_fault(
    query: Mapping[str, str], scenario: Scenario, signature_now: float
) -> Fault | None:
    app = scenario.find_app(int(query["sdkappid"]))
    if app is None:
        return Fault(70020, "SDKAppID not found")
    fault = usersig.find_fault(
        query["usersig"],
        sdk_app_id=app.sdk_app_id,
        identifier=query["identifier"],
        secret_key=app.secret_key,
        signature_now=signature_now,
    )
    if fault is not None:
        return fault
    if query["identifier"] != app.identifier:
        return Fault(90009, "request lacks permissions: use the administrator to call")
    return None


def read_window(body: bytes) -> Window | Fault:
    """Read the window a body asks for, or say why it holds none."""
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError):
        return Fault(60003, "failed to parse the HTTP request as JSON")
    if not isinstance(fields, dict):
        return Fault(90001, "the JSON request must be an object")
    start_time, end_time = (_second_in(fields, n) for n in ("StartTime", "EndTime"))
    if isinstance(start_time, Fault):
        return start_time
    if isinstance(end_time, Fault):
        return end_time
    return Window(start_time, end_time)


def _second_in(fields: dict[str, object], name: str) -> int | Fault:
    if name not in fields:
        return Fault(90100, f"invalid request parameters: {name} is required")
    value = fields[name]
    # Not isinstance: true is an int to Python, and no time to the API.
    if type(value) is not int or not 0 <= value <= _LATEST_SECOND:
        return Fault(90100, f"invalid request parameters: {name} must be unix seconds")
    return value


def _find_time_fault(window: Window, now: datetime) -> Fault | None:
    today = day_of(now.timestamp())
    if window.end_time <= window.start_time:
        return Fault(
            90100, "invalid request parameters: EndTime is not after StartTime"
        )
    if window.end_time - window.start_time > WIDEST_SECONDS:
        return Fault(90100, "invalid request parameters: the window exceeds 7 days")
    if window.start_time > now.timestamp():
        return Fault(90100, "invalid request parameters: StartTime is in the future")
    if window.end_time > day_start(today + timedelta(days=1)):
        return Fault(90100, "invalid request parameters: EndTime is in the future")
    if window.start_time < day_start(today - timedelta(days=RETENTION_DAYS)):
        return Fault(90100, "invalid request parameters: only 7 days can be queried")
    return None


def render(answer: Answer, envelope: Envelope = "top") -> bytes:
    """Write an answer as the bytes of the response body."""
    head: dict[str, object] = {
        "ActionStatus": "OK" if answer.error_code == 0 else "FAIL",
        "ErrorCode": answer.error_code,
        "ErrorInfo": answer.error_info,
    }
    if answer.error_code != 0:
        return _json(head)
    arrays = _arrays_of(answer.rows)
    match envelope:
        case "top":
            return _json({**head, **arrays})
        case "results_object":
            return _json({**head, "Results": arrays})
        case "results_list":
            return _json({**head, "Results": [arrays]})
        case "other_key":
            return _json({**head, "Data": arrays})
        case "as_printed":
            return _json(head)[:-1] + b"," + _json(arrays) + b"}"


def _json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def _arrays_of(rows: tuple[LossCount, ...]) -> dict[str, object]:
    return {
        name: [_element_of(r) for r in rows if r.stage == stage and r.scope == scope]
        for name, stage, scope in _ARRAYS
    }


def _element_of(row: LossCount) -> dict[str, object]:
    element: dict[str, object] = {
        "ErrCode": row.err_code,
        "ErrCount": row.err_count,
        "ErrInfo": row.err_info,
    }
    if row.scope == "overall":
        return element
    return {"PushPlatform": row.platform_id, **element}
