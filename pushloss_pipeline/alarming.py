"""The alarms of now: asks the published file, and knows where to send them."""

from collections.abc import Hashable, Iterator, Sequence
from datetime import date, timedelta
from typing import Any

from pushloss_pipeline.adapters.alarm_channel import AlarmChannel, open_channel
from pushloss_pipeline.adapters.sql_files import read_statement
from pushloss_pipeline.adapters.warehouse import Rows
from pushloss_pipeline.domain.alarm_texts import Message, messages
from pushloss_pipeline.domain.alarms import (
    Alarm,
    CodeAlarm,
    Kind,
    OpenDay,
    alarms_of_day,
    one_of_each_cause,
)
from pushloss_pipeline.domain.errors import ConfigurationError
from pushloss_pipeline.domain.verdict import State
from pushloss_pipeline.domain.window import due_at, expires_at, last_complete_day
from pushloss_pipeline.reporting import default_path
from pushloss_pipeline.steps import Parts

LOSS_DAYS = 7
"""New codes and unusual counts of so many complete days are told."""
LOST_DAYS = 30
"""So long a day that is lost for good is news."""
NEW_CODE_LOSSES = 50
"""A new code that loses less on its first day is in the report only; the anomalies
tell of as many, so that a new code is never told as unusual first."""


def channel_of(parts: Parts) -> AlarmChannel:
    """Where alarms go; `ConfigurationError` where nothing says so."""
    settings = parts.settings
    if settings.alarm_url_env is None:
        raise ConfigurationError(
            f"no alarm channel: set alarm_url_env in {settings.config_path} to the name"
            " of the variable that holds the apprise URL"
        )
    urls = settings.alarm_urls()
    if not urls:
        raise ConfigurationError(
            f"no alarm channel: the variable {settings.alarm_url_env} is not set;"
            " export it with the apprise URL"
        )
    return open_channel(urls, variable=settings.alarm_url_env)


class Lookout:
    """Sees the alarms of now; a file that is as it was is not asked again."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._seen: Hashable = None
        self._answers: Sequence[Rows] = ()

    def alarms(self) -> list[Alarm]:
        """All that the published file gives reason for; nothing where there is none."""
        parts = self._parts
        if not parts.warehouse.path.exists():
            return []
        now = parts.clock()
        last = last_complete_day(parts.settings.timezone, now)
        file = parts.warehouse.path.stat()
        seen = (file.st_ino, file.st_mtime_ns, last)
        if seen != self._seen:
            self._answers, self._seen = _ask(parts, last), seen
        days, codes = self._answers
        told = [
            alarm
            for row in days.as_dicts()
            for alarm in alarms_of_day(_open_day(parts, row), now)
        ]
        return [*told, *one_of_each_cause(list(_code_alarms(codes.as_dicts())))]


def alarms_now(parts: Parts) -> list[Alarm]:
    """What a new lookout sees."""
    return Lookout(parts).alarms()


def in_messages(parts: Parts, alarms: list[Alarm]) -> list[Message]:
    """How these are told, with the link to the report."""
    return messages(
        alarms, zone=parts.settings.timezone, report_url=report_address(parts)
    )


def report_address(parts: Parts) -> str:
    """Where people open the report."""
    return parts.settings.report_url or default_path(parts).absolute().as_uri()


def _ask(parts: Parts, last: date) -> list[Rows]:
    first_lost = last - timedelta(days=LOST_DAYS - 1)
    return parts.warehouse.query_all(
        [read_statement("queries", f"alarm_{name}").text for name in ("days", "codes")],
        {
            "lost_first": max(parts.settings.start_date, first_lost),
            "first": last - timedelta(days=LOSS_DAYS - 1),
            "last": last,
            "least": NEW_CODE_LOSSES,
        },
    )


def _open_day(parts: Parts, row: dict[str, Any]) -> OpenDay:
    settings = parts.settings
    return OpenDay(
        sdk_app_id=row["sdk_app_id"],
        app=row["app"],
        loss_date=row["loss_date"],
        state=State(row["state"]) if row["state"] else None,
        due_at=due_at(row["loss_date"], settings.timezone, settings.schedule_time),
        expires_at=expires_at(
            row["loss_date"], settings.timezone, settings.retention_days
        ),
        has_losses=row["has_losses"],
        error_code=row["error_code"],
        error_info=row["error_info"] or "",
    )


def _code_alarms(rows: list[dict[str, Any]]) -> Iterator[CodeAlarm]:
    for row in rows:
        yield CodeAlarm(**{**row, "kind": Kind(row["kind"])})
