"""What an answer does to a day: the states of a day and all moves between them.

::

                      OK, with rows
   (unknown) ──────────────────────────────► loaded ◄──────┐
      │                         ┌─────────►    │           │
      │ OK,       OK, with rows │              │ OK,       │ OK, with rows
      │ no rows                 │              ▼ no rows   │
      ├──────────────────────► empty ◄───── held ──────────┘
      │                         │  accepted ▲
      │                         └───────────┘ acceptance taken back
      │
      ├─ no answer, server in trouble ────► failed   ┐ the revision that stands
      ├─ the API says no, or unreadable ──► refused  ┘ stays; the next OK mends
      └─ forgotten, no answer kept ───────► expired    the last word

A loaded or empty day can become failed or refused too, when it is asked again. It
goes on from there as from what stood before; forgotten by the API, it is that for
good. A held day stays held until it has rows again or is accepted.

An empty day may not have been ready when it was asked: see `may_be_unready`.

A day is a fold over its answers in the order in which they were recorded.
Answering the same thing twice changes nothing, so judging an answer again is
harmless, and `replay` is the same fold from the first answer on.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from enum import StrEnum
from itertools import zip_longest

from pushloss_pipeline.domain.codes import Reaction, reaction_to
from pushloss_pipeline.domain.errors import BadPayload
from pushloss_pipeline.domain.flatten import content_hash, flatten
from pushloss_pipeline.domain.model import Answer, AppDay, LossRow, Outcome, Scope
from pushloss_pipeline.domain.parse import parse_report


class State(StrEnum):
    """What the record knows of an app's day."""

    LOADED = "loaded"
    EMPTY = "empty"
    HELD = "held"
    REFUSED = "refused"
    FAILED = "failed"
    EXPIRED = "expired"


DONE = frozenset({State.LOADED, State.EMPTY})
"""States that need nobody; every other is what `--missing` asks for again."""

READY_AFTER = timedelta(days=1)
"""Sooner after the day's end, an answer without rows may be an early one."""

_REFUSALS = frozenset(
    {
        Reaction.SIGN_ANEW,
        Reaction.SIGN_ANEW_LATER,
        Reaction.CONFIGURATION,
        Reaction.REFUSED,
        Reaction.PERMISSION,
    }
)


@dataclass(frozen=True, slots=True)
class Standing:
    """What stands for one app and day after some answer.

    `revision`, `row_count`, `overall_count` and `content_hash` belong to the
    revision that stands (0 and empty while none does); the rest to the answer
    that brought the state. `rows` are at hand only in a revision just judged,
    not in one read back from the record.
    """

    sdk_app_id: int
    app: str
    loss_date: date
    sequence: int
    state: State
    revision: int
    row_count: int
    overall_count: int
    content_hash: str
    response_id: str
    fetched_at: datetime
    recorded_at: datetime
    envelope: str | None = None
    warnings: tuple[str, ...] = ()
    error_code: int | None = None
    error_info: str | None = None
    is_revision: bool = False
    rows: tuple[LossRow, ...] = ()

    @property
    def app_day(self) -> AppDay:
        """The app's day that this stands for."""
        return AppDay(self.sdk_app_id, self.loss_date)


def judge(standing: Standing | None, answer: Answer) -> Standing | None:
    """The day's next standing, or None where the answer changes nothing."""
    match answer.outcome:
        case Outcome.ACCEPTED:
            return _accept(standing, answer)
        case Outcome.RESTORED:
            return _restore(standing, answer)
        case Outcome.EXPIRED:
            return _expire(standing, answer)
        case Outcome.NO_ANSWER:
            return _trouble(standing, answer, State.FAILED)
        case Outcome.TOO_LARGE:
            return _trouble(standing, answer, State.REFUSED)
        case Outcome.ANSWERED:
            return _judge_answered(standing, answer)


def may_be_unready(
    state: State | None, revision: int, *, ended_at: datetime, now: datetime
) -> bool:
    """Whether a day may be empty only because it was asked so soon after its end.

    A later revision than the first that is empty was accepted.
    """
    return state is State.EMPTY and revision == 1 and now < ended_at + READY_AFTER


def judge_all(standing: Standing | None, answers: Sequence[Answer]) -> list[Standing]:
    """Fold answers in recorded order; the entries that the record should gain.

    Every new revision is one entry; a state without a revision is one only
    where nothing newer follows it. An attempt that was tried again says nothing
    about the day: its retry does.
    """
    entries: list[Standing] = []
    for answer in _final_attempts(answers):
        following = judge(standing, answer)
        if following is not None:
            if entries and not entries[-1].is_revision:
                entries.pop()
            entries.append(following)
            standing = following
    return entries


def _final_attempts(answers: Sequence[Answer]) -> Iterator[Answer]:
    for answer, following in zip_longest(answers, answers[1:]):
        if following is None or following.attempt != answer.attempt + 1:
            yield answer


def missing_entries(
    recorded: Sequence[Standing], expected: Sequence[Standing], *, now: datetime
) -> list[Standing]:
    """Entries that make a recorded day say what a fold of its answers says.

    Both are entries of one day, oldest first. Revisions that the record never
    got are added as they would have been. Where it holds other content than
    the fold gives (the reading of answers has changed since), the fold's last
    word becomes one more revision, recorded `now`: history is never rewritten.
    """
    if not expected:
        return []
    added = _missing_revisions(recorded, expected, now)
    standing = added[-1] if added else recorded[-1] if recorded else None
    if standing is None or _told(standing) != _told(expected[-1]):
        added.append(_restated(standing, expected[-1]))
    first = recorded[-1].sequence + 1 if recorded else 1
    return [
        replace(entry, sequence=sequence) for sequence, entry in enumerate(added, first)
    ]


def _missing_revisions(
    recorded: Sequence[Standing], expected: Sequence[Standing], now: datetime
) -> list[Standing]:
    known = [entry.content_hash for entry in recorded if entry.is_revision]
    revisions = [entry for entry in expected if entry.is_revision]
    if [entry.content_hash for entry in revisions[: len(known)]] == known:
        return revisions[len(known) :]
    if not revisions or revisions[-1].content_hash == known[-1]:
        return []
    # Later than all that is recorded, also where the clock was set back.
    step = timedelta(microseconds=1)
    moment = max(now, *(entry.recorded_at + step for entry in (*recorded, *expected)))
    return [replace(revisions[-1], revision=len(known) + 1, recorded_at=moment)]


def _told(entry: Standing) -> tuple[object, ...]:
    """What an entry says of its day, beside the content that stands."""
    return (
        entry.state,
        entry.app,
        entry.response_id,
        entry.fetched_at,
        entry.envelope,
        entry.warnings,
        entry.error_code,
        entry.error_info,
    )


def _restated(standing: Standing | None, last: Standing) -> Standing:
    """The fold's last word as a state of the revision that stands in the record."""
    if standing is None:
        return last
    return replace(
        last,
        revision=standing.revision,
        row_count=standing.row_count,
        overall_count=standing.overall_count,
        content_hash=standing.content_hash,
        recorded_at=max(last.recorded_at, standing.recorded_at),
        is_revision=False,
        rows=(),
    )


def _judge_answered(standing: Standing | None, answer: Answer) -> Standing | None:
    reaction = reaction_to(answer.http_status, answer.error_code)
    unreadable = reaction is Reaction.RETRY and answer.error_code is None
    is_success = answer.http_status is not None and 200 <= answer.http_status < 300
    if reaction is Reaction.OK or (unreadable and is_success and answer.body):
        return _judge_report(standing, answer)
    state = State.REFUSED if reaction in _REFUSALS else State.FAILED
    return _trouble(standing, answer, state)


def _judge_report(standing: Standing | None, answer: Answer) -> Standing | None:
    try:
        report = parse_report(answer.body or b"")
        rows, oddities = flatten(report)
    except BadPayload as problem:
        unreadable = replace(answer, error_code=None, error_info=str(problem))
        return _trouble(standing, unreadable, State.REFUSED)
    warnings = (*report.warnings, *oddities)
    if not rows and standing is not None and standing.row_count > 0:
        if standing.state is State.HELD:
            return None
        info = (
            f"the API answered without rows, {standing.row_count} rows are loaded"
            f" (revision {standing.revision})"
        )
        held = replace(answer, error_code=None, error_info=info)
        return _moved(standing, held, State.HELD, report.envelope, warnings)
    state = State.LOADED if rows else State.EMPTY
    digest = content_hash(rows)
    if standing is not None and standing.revision and standing.content_hash == digest:
        if standing.state is state:
            return None
        clean = replace(answer, error_code=None, error_info=None)
        return _moved(standing, clean, state, report.envelope, warnings)
    return _revised(standing, answer, rows, report.envelope, warnings)


def _accept(standing: Standing | None, answer: Answer) -> Standing | None:
    if standing is None or standing.state is not State.HELD:
        return None
    revised = _revised(standing, answer, (), standing.envelope, standing.warnings)
    return replace(revised, fetched_at=standing.fetched_at)


def _restore(standing: Standing | None, answer: Answer) -> Standing | None:
    """The rows that the accepted answer took away stand again, and so does its hold."""
    if standing is None or standing.revision < 2 or standing.row_count:
        return None
    try:
        report = parse_report(answer.body or b"")
        rows, oddities = flatten(report)
    except BadPayload as problem:
        unreadable = replace(answer, error_code=None, error_info=str(problem))
        return _trouble(standing, unreadable, State.REFUSED)
    warnings = (*report.warnings, *oddities)
    restored = _revised(standing, answer, rows, report.envelope, warnings)
    info = (
        f"the API answered without rows, the {len(rows)} rows of an earlier answer"
        f" were restored (revision {restored.revision})"
    )
    return replace(restored, state=State.HELD, error_info=info)


def _expire(standing: Standing | None, answer: Answer) -> Standing | None:
    """Nobody can ask again: what was ever loaded is the last word on the day."""
    if standing is None or standing.revision == 0:
        return _trouble(standing, answer, State.EXPIRED)
    if standing.state not in (State.FAILED, State.REFUSED):
        return None
    state = State.LOADED if standing.row_count else State.EMPTY
    quiet = replace(answer, error_code=None, error_info=None)
    return _moved(standing, quiet, state, None, ())


def _revised(
    standing: Standing | None,
    answer: Answer,
    rows: tuple[LossRow, ...],
    envelope: str | None,
    warnings: tuple[str, ...],
) -> Standing:
    overall = sum(row.err_count for row in rows if row.scope is Scope.OVERALL)
    return Standing(
        sdk_app_id=answer.sdk_app_id,
        app=answer.app,
        loss_date=answer.loss_date,
        sequence=standing.sequence + 1 if standing else 1,
        state=State.LOADED if rows else State.EMPTY,
        revision=standing.revision + 1 if standing else 1,
        row_count=len(rows),
        overall_count=overall,
        content_hash=content_hash(rows),
        response_id=answer.response_id,
        fetched_at=answer.fetched_at,
        recorded_at=_recorded_at(answer),
        envelope=envelope,
        warnings=warnings,
        is_revision=True,
        rows=rows,
    )


def _trouble(
    standing: Standing | None, answer: Answer, state: State
) -> Standing | None:
    """A failed ask leaves what stands; a held day still waits for its decision."""
    told = replace(
        answer, error_code=answer.error_code or None, error_info=_in_words(answer)
    )
    if standing is not None:
        if standing.state is State.HELD:
            return None
        known = (standing.state, standing.error_code, standing.error_info)
        if known == (state, told.error_code, told.error_info):
            return None
    return _moved(standing, told, state, None, ())


def _in_words(answer: Answer) -> str | None:
    """What went wrong, beside the code; None where the API gave a code only."""
    if answer.error_code == 0:
        return f"HTTP {answer.http_status}, although ErrorCode is 0"
    if answer.http_status == 200 and answer.body == b"":
        return "the answer was empty"
    if answer.error_info or answer.error_code is not None:
        return answer.error_info or None
    return f"HTTP {answer.http_status}"


def _moved(
    standing: Standing | None,
    answer: Answer,
    state: State,
    envelope: str | None,
    warnings: tuple[str, ...],
) -> Standing:
    return Standing(
        sdk_app_id=answer.sdk_app_id,
        app=answer.app,
        loss_date=answer.loss_date,
        sequence=standing.sequence + 1 if standing else 1,
        state=state,
        revision=standing.revision if standing else 0,
        row_count=standing.row_count if standing else 0,
        overall_count=standing.overall_count if standing else 0,
        content_hash=standing.content_hash if standing else "",
        response_id=answer.response_id,
        fetched_at=answer.fetched_at,
        recorded_at=_recorded_at(answer),
        envelope=envelope,
        warnings=warnings,
        error_code=answer.error_code,
        error_info=answer.error_info,
    )


def _recorded_at(answer: Answer) -> datetime:
    if answer.recorded_at is None:
        raise ValueError(f"answer {answer.response_id} was not recorded")
    return answer.recorded_at
