"""Alarms in words: one message for all that is new of a kind, to read in a chat.

Each cause is a paragraph of three lines: what is wrong, what to do, whose move.
"""

import re
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

from pushloss_pipeline.domain.advice import what_to_do
from pushloss_pipeline.domain.alarms import (
    Alarm,
    CodeAlarm,
    DayAlarm,
    Kind,
    OpenDay,
    RunAlarm,
)
from pushloss_pipeline.domain.codes import Reaction, reaction_to
from pushloss_pipeline.domain.verdict import State
from pushloss_pipeline.domain.words import (
    NO_BREAK,
    counted,
    days_in_words,
    in_one_line,
    listed,
    number,
    platform_name,
    runs_of_days,
)

BODY_BYTES = 1_700
"""The strictest chat takes 2,048 with the title; what is over is counted only."""
TEXT_LENGTH = 160
"""Of what others wrote: vendor's texts, reasons of a failure."""
REASON_LINES = 3
_LOOKALIKES = str.maketrans("<>@", "‹›＠")
"""For what chats take for a link or a call to everyone."""

RUNNER = "whoever runs pushloss"
CONSOLE = "an administrator of the app in the Chat console"


@dataclass(frozen=True, slots=True)
class Message:
    """What is sent, and the keys of the alarms that it tells."""

    kind: Kind | None
    """None: a test."""
    title: str
    body: str
    keys: tuple[str, ...] = ()

    @property
    def is_failure(self) -> bool:
        """Somebody must move today."""
        return self.kind is not None and self.kind.is_failure


@dataclass(frozen=True, slots=True)
class Paragraph:
    """One cause."""

    what: str
    to_do: str
    whose_move: str
    alarm_count: int = 1

    @property
    def text(self) -> str:
        """Three lines, whatever others wrote."""
        return f"{self.what}\n→ {self.to_do}\nWhose move: {self.whose_move}"


def messages(
    alarms: Iterable[Alarm], *, zone: ZoneInfo, report_url: str
) -> list[Message]:
    """One message for each kind that there is, the most urgent first."""
    by_kind = _grouped(alarms, lambda alarm: alarm.kind)
    return [
        _message(kind, by_kind[kind], zone, report_url)
        for kind in Kind
        if kind in by_kind
    ]


def a_test(report_url: str) -> Message:
    """What shows that the channel works."""
    body = f"This is a test: alarms of pushloss arrive here.\n\nReport: {report_url}"
    return Message(None, "[pushloss] test", body)


def _message(
    kind: Kind, alarms: Sequence[Any], zone: ZoneInfo, report_url: str
) -> Message:
    match kind:
        case Kind.RUN_FAILED:
            title, paragraphs = _tell_runs(alarms)
        case Kind.NEW_CODE | Kind.ANOMALY:
            title, paragraphs = _tell_codes(kind, alarms)
        case _:
            title, paragraphs = _tell_days(kind, alarms, zone)
    more = _MORE.get(kind, "`pushloss status`")
    body = f"{_fitted(paragraphs, more)}\n\nReport: {report_url}"
    return Message(
        kind=kind,
        title=f"[pushloss] {title}".replace(NO_BREAK, " "),
        body=body.replace(NO_BREAK, " "),
        keys=tuple(dict.fromkeys(alarm.key for alarm in alarms)),
    )


_MORE = {
    Kind.RUN_FAILED: "Dagster's UI",
    Kind.NEW_CODE: "the report",
    Kind.ANOMALY: "the report",
}
"""Where the rest is told, if not by the command."""


def _fitted(paragraphs: Sequence[Paragraph], more: str) -> str:
    """As many as a chat takes, one at least."""
    shown: list[str] = []
    for paragraph in paragraphs:
        text = "\n\n".join([*shown, paragraph.text])
        if shown and len(text.encode()) > BODY_BYTES:
            break
        shown.append(paragraph.text)
    hidden = sum(paragraph.alarm_count for paragraph in paragraphs[len(shown) :])
    if hidden:
        shown.append(f"… and {number(hidden)} more, see {more}")
    return "\n\n".join(shown)


def _tell_days(
    kind: Kind, alarms: Sequence[DayAlarm], zone: ZoneInfo
) -> tuple[str, list[Paragraph]]:
    days = [alarm.day for alarm in alarms]
    causes = _grouped(
        days,
        lambda day: (
            (day.app,) if kind is Kind.EXPIRED else (day.app, day.state, day.error_code)
        ),
    )
    paragraphs = [_DAY_TEXTS[kind](some, zone) for some in causes.values()]
    who, when = _apps(day.app for day in days), _days(days)
    codes = sorted({day.error_code for day in days if day.error_code})
    told = f" ({', '.join(map(str, codes[:3]))})" if codes else ""
    titles = {
        Kind.REFUSED: f"{who}: the API refuses{told}",
        Kind.FAILED: f"{who}: no usable answer for {when}{told}",
        Kind.HELD: f"{who}: {counted(len(days), 'day')} held, somebody must decide",
        Kind.EXPIRES_SOON: f"{who}: {when} not loaded, soon forgotten",
        Kind.EXPIRES_TOMORROW: f"{who}: {when} not loaded, lost within a day",
        Kind.EXPIRED: f"{who}: {when} lost for good",
    }
    return titles[kind], paragraphs


def _refused(days: Sequence[OpenDay], zone: ZoneInfo) -> Paragraph:
    return Paragraph(
        what=f"{_app_days(days)}: the API says no: {_answer(days[0])}",
        to_do=f"{_advice(days[0])}; then `{_load(days)}`, or wait for the next load",
        whose_move=_whose_refusal(days[0]),
        alarm_count=len(days),
    )


def _whose_refusal(day: OpenDay) -> str:
    if not day.error_code:
        return RUNNER
    match reaction_to(200, day.error_code):
        case Reaction.PERMISSION:
            return CONSOLE
        case Reaction.CONFIGURATION | Reaction.SIGN_ANEW | Reaction.SIGN_ANEW_LATER:
            return "whoever keeps pushloss.toml and the keys"
    return RUNNER


def _failed(days: Sequence[OpenDay], zone: ZoneInfo) -> Paragraph:
    return Paragraph(
        what=f"{_app_days(days)}: no usable answer: {_answer(days[0])}",
        to_do="it is asked again by itself, later in the day and with each daily load;"
        f" at once with `{_load(days)}`",
        whose_move="nobody's yet; if it lasts, whoever keeps this machine's network",
        alarm_count=len(days),
    )


def _held(days: Sequence[OpenDay], zone: ZoneInfo) -> Paragraph:
    app, day = days[0].app, days[0].loss_date
    is_one = len(days) == 1
    return Paragraph(
        what=f"{_app_days(days)}: the API now tells of no loss at all for"
        f" {'a day that has' if is_one else 'days that have'} rows; the rows stand"
        " until somebody decides",
        to_do=f"truly no loss? `pushloss accept {day} --app {app}`"
        f"{'' if is_one else ', then the other days'}; in doubt wait: each load asks"
        " again",
        whose_move=f"whoever knows whether {app} sent messages then",
        alarm_count=len(days),
    )


def _expires(days: Sequence[OpenDay], zone: ZoneInfo) -> Paragraph:
    first = min(days, key=lambda day: day.loss_date)
    until = first.expires_at.astimezone(zone)
    is_refused = first.state is State.REFUSED
    state = first.state.value if first.state else "never asked"
    why = f" ({_answer(first)})" if first.error_info or first.error_code else ""
    which = "it" if len(days) == 1 else _words([first])
    return Paragraph(
        what=f"{_app_days(days)}: {state}{why}; the API forgets {which} at"
        f" {until:%Y-%m-%d %H:%M} ({zone.key})",
        to_do=(f"{_advice(first)}; then " if is_refused else "run ")
        + f"`{_load(days)}`",
        whose_move=_whose_refusal(first) if is_refused else RUNNER,
        alarm_count=len(days),
    )


def _expired(days: Sequence[OpenDay], zone: ZoneInfo) -> Paragraph:
    when = "then" if len(days) == 1 else "on these days"
    return Paragraph(
        what=f"{_app_days(days)}: the API has forgotten, and no answer was kept; what"
        f" was lost {when} will never be known, and no sum holds it",
        to_do="nothing brings it back; see what kept it from being loaded with"
        f" `pushloss status --app {days[0].app}`",
        whose_move=RUNNER,
        alarm_count=len(days),
    )


_DAY_TEXTS: dict[Kind, Callable[[Sequence[OpenDay], ZoneInfo], Paragraph]] = {
    Kind.REFUSED: _refused,
    Kind.FAILED: _failed,
    Kind.HELD: _held,
    Kind.EXPIRES_SOON: _expires,
    Kind.EXPIRES_TOMORROW: _expires,
    Kind.EXPIRED: _expired,
}


def _tell_codes(kind: Kind, alarms: Sequence[CodeAlarm]) -> tuple[str, list[Paragraph]]:
    who = _apps(alarm.app for alarm in alarms)
    names = list(dict.fromkeys(_losses(alarm) for alarm in alarms))
    if kind is Kind.NEW_CODE:
        title = (
            f"{who}: new: {names[0]}"
            if len(names) == 1
            else (f"{who}: {len(names)} new error codes")
        )
    else:
        when = days_in_words(alarm.loss_date for alarm in alarms)
        title = f"{who}: unusual losses on {when}"
    ordered = sorted(alarms, key=lambda alarm: (alarm.app, alarm.loss_date))
    return title, [_code_paragraph(alarm) for alarm in ordered]


def _code_paragraph(alarm: CodeAlarm) -> Paragraph:
    count, expected = number(alarm.lost_count), number(alarm.expected_count)
    if alarm.kind is Kind.NEW_CODE:
        told = f"was never met before: {count} lost"
    elif alarm.is_drop:
        told = f"fell to {count}, about {expected} expected"
    else:
        told = f"rose to {count}, about {expected} expected"
    meaning = f". {_cut(alarm.meaning)}" if alarm.meaning else ""
    day = days_in_words([alarm.loss_date])
    to_do, whose_move = _cut(alarm.action), alarm.owner
    if alarm.is_drop:
        to_do = "see whether messages are still sent as ever; if so, it is good news"
        whose_move = f"whoever knows what {alarm.app} sent then"
    return Paragraph(
        what=f"{alarm.app}, {day}: {_losses(alarm)} {told}{meaning}",
        to_do=to_do or "see in the report which codes moved",
        whose_move=whose_move or "that of the codes' owners, named in the report",
    )


def _losses(alarm: CodeAlarm) -> str:
    """APNs 403 before sending; losses of APNs after sending; losses of the app."""
    stage = {
        "ready_to_send": "before sending",
        "post_send_delivered": "after sending",
    }.get(alarm.stage, alarm.stage)
    platform = platform_name(alarm.platform) if alarm.platform else ""
    if alarm.err_code:
        return f"{platform} {_cut(alarm.err_code)} {stage}"
    return " ".join(["losses of", platform or "the app", stage]).rstrip()


def _tell_runs(alarms: Sequence[RunAlarm]) -> tuple[str, list[Paragraph]]:
    runs = _grouped(alarms, lambda alarm: alarm.run_id).values()
    title = f"{alarms[0].job} failed" if len(runs) == 1 else f"{len(runs)} runs failed"
    return title, [_run_paragraph(some) for some in runs]


def _run_paragraph(alarms: Sequence[RunAlarm]) -> Paragraph:
    alarm, reason = alarms[0], "\n".join(alarm.reason for alarm in alarms)
    lines = [_cut(line) for line in reason.splitlines() if line.strip()]
    reason = "\n".join(lines[:REASON_LINES]) or "it does not say why"
    more = "\n…" if len(lines) > REASON_LINES else ""
    again = f"`{alarm.command}`" if alarm.command else "launch it again"
    return Paragraph(
        what=f"{alarm.job}: {reason}{more}",
        to_do=f"mend that, then {again}; more in Dagster's UI, run {alarm.run_id}",
        whose_move=RUNNER,
    )


def _answer(day: OpenDay) -> str:
    code = str(day.error_code) if day.error_code is not None else ""
    return " ".join(filter(None, [code, _cut(day.error_info)])) or "it does not say why"


def _advice(day: OpenDay) -> str:
    return what_to_do(
        app=day.app, day=day.loss_date, state=day.state, error_code=day.error_code
    )


def _load(days: Sequence[OpenDay]) -> str:
    """The command for all of them; loaded days between them are left alone."""
    dates = [day.loss_date for day in days]
    missing = " --missing" if len(days) > 1 else ""
    return f"pushloss load {min(dates)} {max(dates)} --app {days[0].app}{missing}"


def _app_days(days: Sequence[OpenDay]) -> str:
    return f"{days[0].app}, {_words(days)}"


def _words(days: Sequence[OpenDay]) -> str:
    return days_in_words(day.loss_date for day in days)


def _days(days: Sequence[OpenDay]) -> str:
    """In words, or counted where there are many runs of them."""
    dates = sorted({day.loss_date for day in days})
    if len(list(runs_of_days(dates))) > 3:
        return counted(len(dates), "day")
    return days_in_words(dates)


def _apps(names: Iterable[str]) -> str:
    known = list(dict.fromkeys(names))
    return listed(known) if len(known) <= 3 else counted(len(known), "app")


def _cut(text: str) -> str:
    """One short line, without what follows a `?` in an address; no chat obeys it."""
    line = re.sub(r"(\w://[^\s?]+)\?\S+", r"\1?…", in_one_line(text))
    line = line.translate(_LOOKALIKES)
    return line if len(line) <= TEXT_LENGTH else f"{line[: TEXT_LENGTH - 1]}…"


Item = TypeVar("Item")
Name = TypeVar("Name", bound=Hashable)


def _grouped(
    items: Iterable[Item], name_of: Callable[[Item], Name]
) -> dict[Name, list[Item]]:
    groups: dict[Name, list[Item]] = {}
    for item in items:
        groups.setdefault(name_of(item), []).append(item)
    return groups
