"""The words of the field: stages, scopes, platforms, answers, loss rows."""

from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum
from typing import NamedTuple


class Stage(StrEnum):
    """Where a message was lost. Source: the response fields of the vendor's page."""

    READY_TO_SEND = "ready_to_send"
    """Between sendable and sent (`ReadyToSendLoss`)."""
    POST_SEND_DELIVERED = "post_send_delivered"
    """Between sent and delivered (`PostSendDeliveredLoss`)."""


class Scope(StrEnum):
    """Which of the two countings of the same losses a row belongs to."""

    OVERALL = "overall"
    PLATFORM = "platform"


PLATFORM_NAMES = {
    0: "unknown",
    1: "apns",
    2: "xiaomi",
    3: "huawei",
    4: "fcm",
    5: "meizu",
    6: "oppo",
    7: "vivo",
    8: "honor",
}
"""`PushPlatform` of the vendor's page; 0 is also its own online channel."""


def platform_name(platform_id: int) -> str:
    """Name of a `PushPlatform`; numbers the page does not know are kept."""
    return PLATFORM_NAMES.get(platform_id, f"platform_{platform_id}")


@dataclass(frozen=True, slots=True)
class App:
    """An application to ask for, with what is needed to sign and send the call."""

    name: str
    sdk_app_id: int
    base_url: str
    """Scheme, host and port, no path: `https://adminapisgp.im.qcloud.com`."""
    identifier: str
    secret_key: str = field(repr=False)


class AppDay(NamedTuple):
    """An app's day: what is loaded, replaced and judged as one."""

    sdk_app_id: int
    loss_date: date


@dataclass(frozen=True, slots=True)
class DayWindow:
    """A day and the half-open span of seconds [start, end) that it covers."""

    day: date
    start: datetime
    end: datetime


class Outcome(StrEnum):
    """What became of one attempt to learn about a day, before it is judged."""

    ANSWERED = "answered"
    """An HTTP answer arrived whole, whatever it says."""
    NO_ANSWER = "no_answer"
    """The network failed: refused, reset, timed out, cut off."""
    TOO_LARGE = "too_large"
    """The body passed the limit and was dropped unread."""
    EXPIRED = "expired"
    """Not asked: the API has forgotten the day, and no answer was ever kept."""
    ACCEPTED = "accepted"
    """A person accepted the held answer of this day."""
    RESTORED = "restored"
    """A person took that back: `body` is the answer that counts again."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One attempt and what came of it: a row of `push_loss_responses`."""

    response_id: str
    """Unique, 32 hexadecimal digits."""
    sdk_app_id: int
    app: str
    loss_date: date
    window_start: datetime
    window_end: datetime
    attempt: int
    """1 for the first try of a call, 2 for its first retry, …"""
    requested_at: datetime
    fetched_at: datetime
    outcome: Outcome
    http_status: int | None = None
    error_code: int | None = None
    """`ErrorCode` (or `ResultCode`) of the body; None where there is none."""
    error_info: str | None = None
    """`ErrorInfo` of the body, or what went wrong on the way."""
    body: bytes | None = field(default=None, repr=False)
    recorded_at: datetime | None = None
    """When it entered the record; None before that."""

    @property
    def app_day(self) -> AppDay:
        """The app's day that it speaks of."""
        return AppDay(self.sdk_app_id, self.loss_date)


@dataclass(frozen=True, slots=True)
class LossEntry:
    """One element of one of the four arrays, as the API printed it."""

    stage: Stage
    platform_id: int | None
    """None in the overall arrays."""
    err_code: str
    err_info: str | None
    err_count: int


@dataclass(frozen=True, slots=True)
class LossReport:
    """One OK answer, read: entries in printed order, duplicates and all."""

    envelope: str
    """Where the four arrays were met: `top`, `Results`, `Results[0]`, `$.Other`."""
    entries: tuple[LossEntry, ...]
    warnings: tuple[str, ...] = ()
    """`kind: text`; kinds are the constants of `domain/parse.py`."""


@dataclass(frozen=True, slots=True)
class LossRow:
    """One row of `push_loss` without its day; unique but for its text and count."""

    stage: Stage
    scope: Scope
    platform_id: int | None
    platform: str | None
    err_code: str
    err_info: str | None
    err_count: int
