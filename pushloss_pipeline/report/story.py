"""The sentences of the page: what moved, why, and whose move it is."""

import shlex
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from pushloss_pipeline.domain.words import (
    EN_DASH,
    NO_BREAK,
    counted,
    day_name,
    days_in_words,
    listed,
    number,
    sentence_case,
    span_name,
)
from pushloss_pipeline.report.model import AppReport, Change, Code, CodeChange, Report
from pushloss_pipeline.report.words import (
    code_in_sentence,
    in_sentence,
    percent,
    signed,
    signed_percent,
)

STEADY_SHARE = 0.02
"""Less change than this share of before is no change."""
ONE_CELL_SHARE = 0.6
FEW_CELLS_SHARE = 0.5
"""What the greatest three codes must make of the change to be called its cause."""
MOST_OF_A_CELL = 0.8
"""What one app must make of a cell's change to be named."""


@dataclass(frozen=True, slots=True)
class NextStep:
    """Whose move it is, and which."""

    owner: str
    action: str


@dataclass(frozen=True, slots=True)
class Headline:
    """The one sentence, and what a reader must know with it."""

    sentence: str
    next_steps: tuple[NextStep, ...] = ()
    command: str = ""
    """What to run where figures are missing."""
    caveats: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Total:
    """What the last days lost; None while none of them is known."""

    lost_count: int | None
    first_day: date
    last_day: date
    whole_days: int
    """Days on which no app is missing."""
    wanted_days: int


def find_total(part: AppReport, report: Report) -> Total:
    """What the last days lost, over those that are known."""
    last_day = part.change.last_day
    first_day = last_day - timedelta(days=report.period_days - 1)
    days = [day for day in part.days if first_day <= day.loss_date <= last_day]
    known = [day.lost_count for day in days if day.lost_count is not None]
    return Total(
        lost_count=sum(known) if known else None,
        first_day=first_day,
        last_day=last_day,
        whole_days=sum(day.is_whole for day in days),
        wanted_days=report.period_days,
    )


def tell_headline(part: AppReport, report: Report) -> Headline:
    """The one sentence that says what moved the losses."""
    total = find_total(part, report)
    if total.lost_count is None:
        return _nothing_known(part, total)
    if part.change.compared_days == 0:
        return _nothing_to_compare(part, total)
    return _Comparison(part, report).headline()


def _nothing_known(part: AppReport, total: Total) -> Headline:
    known = [day.loss_date for day in part.days if day.lost_count is not None]
    command = _load_command(part, total)
    if known:
        return Headline(
            f"Nothing is known of {span_name(total.first_day, total.last_day)}; the "
            f"newest known day is {day_name(known[-1])}.",
            command=f"{command} --missing",
        )
    if part.app is None:
        return Headline("Nothing is loaded yet.", command=command)
    return Headline(f"No day of {part.app} is known yet.", command=command)


def _load_command(part: AppReport, total: Total) -> str:
    app = f" --app {shlex.quote(part.app)}" if part.app else ""
    return f"pushloss load {total.first_day} {total.last_day}{app}"


def _nothing_to_compare(part: AppReport, total: Total) -> Headline:
    assert total.lost_count is not None
    lost = counted(total.lost_count, "message was", "messages were")
    least = "" if total.whole_days == total.wanted_days else "At least "
    before_first = total.first_day - timedelta(days=total.wanted_days)
    before = [d for d in part.days if before_first <= d.loss_date < total.first_day]
    reason = (
        "no day is known on both sides"
        if any(day.lost_count is not None for day in before)
        else f"of the {_days(total.wanted_days)} before none is known"
    )
    return Headline(
        f"{least}{lost} lost on {span_name(total.first_day, total.last_day)}. There is "
        f"nothing to compare with yet: {reason}."
    )


def _days(count: int) -> str:
    return "day" if count == 1 else f"{count} days"


class _Comparison:
    """Words for a change between two periods."""

    def __init__(self, part: AppReport, report: Report) -> None:
        self.part, self.report = part, report
        self.change: Change = part.change
        self.before_words = f"the {_days(report.period_days)} before"

    def headline(self) -> Headline:
        sentence, causes = self._sentence()
        return Headline(
            sentence,
            next_steps=_next_steps(cell.code for cell in causes),
            caveats=(*self._known_caveat(), *self._young_caveat()),
        )

    def _sentence(self) -> tuple[str, Sequence[CodeChange]]:
        """What left its usual range goes first; else the change and its reason."""
        change = self.change
        if change.before_count == 0 and change.after_count == 0:
            return f"No losses, and none on {self.before_words}.", ()
        is_steady = abs(change.change_count) < STEADY_SHARE * change.before_count
        reason, causes = ("", ()) if is_steady else self._reason()
        incident = self._incident()
        if incident and (change.change_count <= 0 or incident not in causes):
            return f"{self._tell_incident(incident)}, while losses as a whole " + (
                f"{self._moved()}."
            ), (incident,)
        if reason:
            return f"Losses {self._moved()}; {reason}.", (
                causes if change.change_count > 0 else ()
            )
        beneath, causes = self._beneath()
        return f"Losses {self._moved()}.{beneath}", causes

    def _moved(self) -> str:
        change = self.change
        if not change.change_count:
            return f"are the same as on {self.before_words}"
        share = signed_percent(change.change_count, change.before_count)
        if abs(change.change_count) < STEADY_SHARE * change.before_count:
            return (
                f"hardly changed: {signed(change.change_count)} ({share}) against "
                f"{self.before_words}"
            )
        moved = (
            f"{'rose' if change.change_count > 0 else 'fell'} by "
            f"{number(abs(change.change_count))}{f' ({share})' if share else ''} "
            f"against {self.before_words}"
        )
        return moved if change.before_count else f"{moved}, which had none"

    def _beneath(self) -> tuple[str, Sequence[CodeChange]]:
        """A rise and a fall that hide each other."""
        change = self.change
        rise = max(change.cells, key=lambda cell: cell.change_count)
        fall = min(change.cells, key=lambda cell: cell.change_count)
        worth_telling = 2 * STEADY_SHARE * change.before_count
        if min(rise.change_count, -fall.change_count) < worth_telling:
            return "", ()
        return (
            f" Beneath that, {self._name(rise)} rose by {number(rise.change_count)} "
            f"and {self._name(fall)} fell by {number(-fall.change_count)}."
        ), (rise,)

    def _incident(self) -> CodeChange | None:
        """The code that rose most of those that left their usual range."""
        rises = (cell for cell in self.change.cells if cell.change_count > 0)
        for cell in sorted(rises, key=lambda cell: -cell.change_count):
            if self._incident_days(cell, self.change.first_day):
                return cell
        return None

    def _tell_incident(self, cell: CodeChange) -> str:
        days = self._incident_days(cell, self.change.first_day)
        left = f"left its usual range on {days_in_words(days)}"
        return _dashed((self._name_and_change(cell), _meaning(cell.code), left))

    def _reason(self) -> tuple[str, Sequence[CodeChange]]:
        rising = self.change.change_count > 0
        noun = "rise" if rising else "fall"
        same_way = sorted(
            (cell for cell in self.change.cells if (cell.change_count > 0) == rising),
            key=lambda cell: -abs(cell.change_count),
        )
        first, few = same_way[0], same_way[:3]
        first_share = first.change_count / self.change.change_count
        few_share = sum(c.change_count for c in few) / self.change.change_count
        if first_share > 1:
            return f"all of the {noun} is {self._tell_and_rest(first)}", (first,)
        if first_share >= ONE_CELL_SHARE:
            return f"{_part_of(first_share, noun)} is {self._tell(first)}", (first,)
        names = listed([self._name_and_change(cell) for cell in few])
        if few_share > 1:
            return f"all of the {noun} is {names}, while others {_other(first)}", few
        if few_share >= FEW_CELLS_SHARE:
            return f"{_part_of(few_share, noun)} is {names}", few
        spread = counted(len(same_way), "code")
        foremost = self._name_and_change(first)
        return f"the {noun} is spread over {spread}, foremost {foremost}", (first,)

    def _tell_and_rest(self, cell: CodeChange) -> str:
        rest = number(abs(self._told_change(cell) - self.change.change_count))
        told = (self._name_and_change(cell), _meaning(cell.code), self._when(cell))
        return f"{_dashed(told)}, while others {_other(cell)} by {rest}"

    def _tell(self, cell: CodeChange) -> str:
        return _dashed((self._name(cell), _meaning(cell.code), self._when(cell)))

    def _name(self, cell: CodeChange) -> str:
        name, app = code_in_sentence(cell.code), self._app_behind(cell)
        return f"{name} at {app}" if app else name

    def _name_and_change(self, cell: CodeChange) -> str:
        return f"{self._name(cell)} ({signed(self._told_change(cell))})"

    def _told_change(self, cell: CodeChange) -> int:
        """The change of the app that is named with the cell, else of all of them."""
        app = self._app_behind(cell)
        if not app:
            return cell.change_count
        return _changes_by_app(cell, self.report)[app]

    def _app_behind(self, cell: CodeChange) -> str:
        return app_behind(cell, self.part, self.report)

    def _when(self, cell: CodeChange) -> str:
        """Days on which the code rose out of its usual range, if there are any."""
        if self.change.change_count > 0:
            days = self._incident_days(cell, self.change.first_day)
            return f"on {days_in_words(days)}" if days else ""
        before = self.change.first_day - timedelta(days=self.report.period_days)
        days = self._incident_days(cell, before)
        return f"after its rise on {days_in_words(days)}" if days else ""

    def _incident_days(self, cell: CodeChange, first: date) -> Sequence[date]:
        """Days of the period from `first` on."""
        last = first + timedelta(days=self.report.period_days - 1)
        app = self._app_behind(cell)
        return [
            anomaly.loss_date
            for anomaly in self.part.anomalies
            if first <= anomaly.loss_date <= last
            and anomaly.direction == "rise"
            and (not app or anomaly.app == app)
            and anomaly.level in ("platform", "code")
            and _covers(anomaly.code, cell.code)
        ]

    def _known_caveat(self) -> Iterator[str]:
        change = self.change
        if change.compared_days >= change.wanted_days:
            return
        noun = "day" if self.part.app else "app day"
        verb = "is" if change.compared_days == 1 else "are"
        yield (
            f"Compared over the {number(change.compared_days)} of "
            f"{counted(change.wanted_days, noun)} that {verb} known on both sides."
        )

    def _young_caveat(self) -> Iterator[str]:
        """Young days lack receipts: a change to or from them may be none."""
        change = self.change
        first = change.first_day
        before = first - timedelta(days=self.report.period_days)
        later = self._young_days(first, change.last_day)
        earlier = self._young_days(before, first - timedelta(days=1))
        if later and change.change_count < 0:
            yield (
                f"Part of the fall may be that {days_in_words(later)} still "
                f"{'rises' if len(later) == 1 else 'rise'}: receipts come in late."
            )
        if earlier and change.change_count > 0:
            yield (
                f"Part of the rise may be that {days_in_words(earlier)} "
                f"{'was' if len(earlier) == 1 else 'were'} asked too early: "
                "receipts came in later."
            )

    def _young_days(self, first: date, last: date) -> list[date]:
        return [
            day.loss_date
            for day in self.part.days
            if day.is_young
            and day.lost_count is not None
            and first <= day.loss_date <= last
        ]


def _meaning(code: Code) -> str:
    if code.meaning:
        return in_sentence(code.meaning)
    return "a code the catalogue does not hold" if code.platform else ""


def _dashed(parts: Iterable[str]) -> str:
    return f"{NO_BREAK}{EN_DASH} ".join(filter(None, parts))


def _part_of(share: float, noun: str) -> str:
    return f"all of the {noun}" if share == 1 else f"{percent(share)} of the {noun}"


def _other(cell: CodeChange) -> str:
    return "fell" if cell.change_count > 0 else "rose"


def _covers(wider: Code, code: Code) -> bool:
    return (
        wider.stage in ("", code.stage)
        and wider.platform in ("", code.platform)
        and wider.err_code in ("", code.err_code)
    )


def _next_steps(codes: Iterable[Code]) -> tuple[NextStep, ...]:
    steps = (
        NextStep(code.owner, sentence_case(code.action).rstrip(". "))
        for code in codes
        if code.action
    )
    return tuple(dict.fromkeys(steps))


def app_behind(cell: CodeChange, part: AppReport, report: Report) -> str:
    """The app that makes most of a cell's change; empty where there is no such app."""
    if part.app is not None or sum(app.app is not None for app in report.apps) < 2:
        return ""
    for name, change_count in _changes_by_app(cell, report).items():
        if cell.change_count and change_count / cell.change_count >= MOST_OF_A_CELL:
            return name
    return ""


def _changes_by_app(cell: CodeChange, report: Report) -> Counter[str]:
    key = _key(cell.code)
    changes: Counter[str] = Counter()
    for app in report.apps:
        for other in app.change.cells:
            if app.app is not None and _key(other.code) == key:
                changes[app.app] += other.change_count
    return changes


def _key(code: Code) -> tuple[str, str, str]:
    return code.stage, code.platform, code.err_code
