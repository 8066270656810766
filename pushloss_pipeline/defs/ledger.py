"""Tells Dagster the truth of each day of a run that covers many.

A range run has one step: a plain result would turn all its days green or all
of them red. So good days are reported one by one, bad ones fail the step. A day
that is done for the run's apps, but not for others, fails nothing and is not green.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import date
from html import escape
from typing import Any

import dagster as dg

from pushloss_pipeline.adapters.masking import discreet, masked
from pushloss_pipeline.adapters.sql_files import Statement, read_statements
from pushloss_pipeline.adapters.warehouse import Published
from pushloss_pipeline.domain.errors import PushLossError
from pushloss_pipeline.domain.verdict import DONE, State
from pushloss_pipeline.domain.window import last_complete_day
from pushloss_pipeline.overview import (
    CheckResult,
    check_day,
    day_figures,
    days_not_done,
)
from pushloss_pipeline.reporting import WrittenReport, write_report
from pushloss_pipeline.steps import DayOutcome, Listener, Parts, publish

RESPONSES = dg.AssetKey("push_loss_responses")
LOSSES = dg.AssetKey("push_loss")
WAREHOUSE = dg.AssetKey("warehouse")
REPORT = dg.AssetKey("push_loss_report")
NEWEST_DAY = dg.AssetKey("push_loss_newest_day")
SAMPLE_ROWS = 10
"""Bad rows that a failed check shows."""
NAMED_PROBLEMS = 100
"""Failed app days that are told one by one; each event is a write to SQLite."""
PROGRESS_LINES = 100
"""Lines that tell how far a run is, at most."""

NOT_ASKED = "apps not asked"
"""Of a failure: why, by app, where no state of a day tells it."""
_TELLING = frozenset({State.HELD, State.REFUSED, State.FAILED, State.EXPIRED})

Result = dg.MaterializeResult[None] | dg.AssetCheckResult


class Ledger:
    """Outcomes of one run by day."""

    def __init__(
        self,
        context: dg.AssetExecutionContext,
        parts: Parts,
        *,
        days: Sequence[date],
        names: Sequence[str],
        listener: Listener,
    ) -> None:
        self.parts = parts
        self.days = days
        self.names = names
        self._context = context
        self._listener = listener
        self._assets = [
            key for key in (RESPONSES, LOSSES) if key in context.selected_asset_keys
        ]
        self._outcomes: dict[date, list[DayOutcome]] = defaultdict(list)
        self._left_out: dict[date, list[DayOutcome]] = defaultdict(list)
        self._checked: dict[str, dict[date, CheckResult]] = defaultdict(dict)
        self._finished_days = 0
        self._named_problems = 0
        self._is_complete = False
        self._is_all_green = False

    def add(self, outcome: DayOutcome) -> None:
        """Note an outcome, pass it on, and log what a person would wait for."""
        outcome = replace(outcome, problem=masked(outcome.problem))
        self._outcomes[outcome.loss_date].append(outcome)
        self._listener(outcome)
        if outcome.problem and self._named_problems < NAMED_PROBLEMS:
            self._named_problems += 1
            self._context.log.warning(_in_words(outcome))
        if self._is_finished(outcome.loss_date):
            self._log_day(outcome.loss_date)

    @contextmanager
    def settled(self) -> Iterator[None]:
        """Publish and report every finished day, however the walk inside ends."""
        try:
            yield
        except BaseException:
            try:
                self._settle()
            except PushLossError as further:
                # Why the walk ended is the news, and decides how the run ends.
                self._context.log.error(f"days are not reported: {further}")
            raise
        self._is_complete = True  # a day without outcomes needed none
        self._settle()

    def results(self) -> Iterator[Result]:
        """What the step returns; raises where any day is bad."""
        if bad := self._bad_days():
            raise self._failure(bad)
        if self._is_all_green:
            for key in self._assets:
                yield dg.MaterializeResult(asset_key=key)
        for check in self._selected_checks():
            yield self._overall_result(check)

    def _settle(self) -> None:
        published = publish(self.parts) if LOSSES in self._assets else None
        self._find_left_out()
        self._is_all_green = (
            self._is_complete
            and not self._bad_days()
            and all(map(self._is_green, self.days))
        )
        for day in filter(self._is_finished, self.days):
            self._check(day)
            if self._is_green(day):
                self._report_green(day)
            elif self._is_good(day):
                self._report_undone(day, "apps not done", self._left_out[day])
            else:
                self._report_undone(day, "failed apps", self._outcomes[day])
        self._report_newest_day()
        if published and not self._follows(WAREHOUSE):
            self._context.log_event(
                dg.AssetMaterialization(
                    WAREHOUSE, metadata=warehouse_metadata(self.parts, published)
                )
            )
        if published and self._is_complete and not self._follows(REPORT):
            self._write_report()

    def _find_left_out(self) -> None:
        """Days of apps that are not part of the run and not done, by the record."""
        others = [name for name in self.parts.settings.apps if name not in self.names]
        for outcome in days_not_done(self.parts, others, self.days):
            self._left_out[outcome.loss_date].append(outcome)
        if days := [day for day in self.days if self._left_out[day]]:
            self._context.log.warning(
                f"not green, as apps beside this run's are not done: {_listed(days)}"
            )

    def _report_newest_day(self) -> None:
        settings = self.parts.settings
        newest = last_complete_day(settings.timezone, self.parts.clock())
        if LOSSES not in self._assets or days_not_done(
            self.parts, list(settings.apps), [newest]
        ):
            return
        self._context.log_event(
            dg.AssetMaterialization(NEWEST_DAY, metadata={"day": newest.isoformat()})
        )

    def _follows(self, key: dg.AssetKey) -> bool:
        """Whether a later step makes it: a day that is not green skips them all."""
        layer = self._context.job_def.asset_layer
        return self._is_all_green and key in layer.selected_asset_keys

    def _write_report(self) -> None:
        try:
            written = write_report(self.parts)
        except Exception as problem:
            # Whatever the renderer trips over: a page must not cost a day.
            self._context.log.error(
                f"the report is not up to date: {problem}",
                exc_info=not isinstance(problem, PushLossError),
            )
            return
        self._context.log_event(
            dg.AssetMaterialization(REPORT, metadata=report_metadata(written))
        )

    def _is_finished(self, day: date) -> bool:
        return self._is_complete or len(self._outcomes[day]) == len(self.names)

    def _is_good(self, day: date) -> bool:
        all_done = all(outcome.is_done for outcome in self._outcomes[day])
        return self._is_finished(day) and all_done

    def _is_green(self, day: date) -> bool:
        """All apps are in by the record, also those that could not be asked anew."""
        is_in = all(outcome.state in DONE for outcome in self._outcomes[day])
        return self._is_finished(day) and is_in and not self._left_out[day]

    def _bad_days(self) -> list[date]:
        return [day for day in self.days if not self._is_good(day)]

    def _log_day(self, day: date) -> None:
        self._finished_days += 1
        position, total = self._finished_days, len(self.days)
        if position % -(-total // PROGRESS_LINES) and position < total:
            return
        outcomes = self._outcomes[day]
        failed = sum(not outcome.is_done for outcome in outcomes)
        self._context.log.info(
            f"day={day} apps={len(outcomes)} failed={failed}"
            f" calls={sum(outcome.calls for outcome in outcomes)}"
            f", {position} of {total} days"
        )

    def _report_green(self, day: date) -> None:
        not_asked = [o for o in self._outcomes[day] if not o.is_done]
        told = {"not asked anew": _told(not_asked)} if not_asked else {}
        for key in self._assets:
            metadata = {**self._metadata(key, day), **told}
            partition = day.isoformat()
            if self._is_all_green:
                # Goes with the one event that the step's result makes of this day.
                self._context.add_asset_metadata(
                    metadata, asset_key=key, partition_key=partition
                )
            else:
                self._context.log_event(
                    dg.AssetMaterialization(key, partition=partition, metadata=metadata)
                )

    def _report_undone(
        self, day: date, title: str, outcomes: Sequence[DayOutcome]
    ) -> None:
        """A day that is not green has no event of its own to say why; this one does."""
        good = sum(outcome.is_done for outcome in self._outcomes[day])
        for key in self._assets:
            self._context.log_event(
                dg.AssetObservation(
                    key,
                    partition=day.isoformat(),
                    metadata={title: _told(outcomes), "good apps": good},
                )
            )

    def _metadata(self, key: dg.AssetKey, day: date) -> Mapping[str, Any]:
        outcomes = self._outcomes[day]
        if key == RESPONSES:
            return {
                "apps": len(outcomes),
                "calls": sum(outcome.calls for outcome in outcomes),
                "retries": sum(max(0, outcome.calls - 1) for outcome in outcomes),
            }
        figures = day_figures(self.parts, day)
        return {
            "dagster/partition_row_count": figures["row_count"],
            "losses ready to send": figures["ready_to_send_count"],
            "losses post-send delivered": figures["post_send_delivered_count"],
            "residual": figures["residual_count"],
            "apps": len(outcomes),
            "apps whose counts are too low yet": figures["young_app_count"],
            "new revisions": sum(outcome.is_new_revision for outcome in outcomes),
        }

    def _selected_checks(self) -> list[Statement]:
        selected = {key.name for key in self._context.selected_asset_check_keys}
        return [check for check in read_statements("checks") if check.name in selected]

    def _check(self, day: date) -> None:
        selected = self._selected_checks()
        if not selected:
            return
        # A run of a single day files its results under that day by itself.
        is_result_enough = (
            self._context.has_partition_key
            and self._is_complete
            and not self._bad_days()
        )
        for result in check_day(self.parts, day):
            if result.statement not in selected:
                continue
            self._checked[result.statement.name][day] = result
            if not is_result_enough:
                self._report_check(day, result)

    def _report_check(self, day: date, result: CheckResult) -> None:
        self._context.log_event(
            dg.AssetCheckEvaluation(
                asset_key=LOSSES,
                check_name=result.statement.name,
                passed=result.is_passed,
                severity=_severity(result.statement),
                metadata=_bad_rows({day: result}),
                partition=day.isoformat(),
            )
        )

    def _overall_result(self, check: Statement) -> dg.AssetCheckResult:
        results = self._checked[check.name]
        failed = [day for day in results if not results[day].is_passed]
        return dg.AssetCheckResult(
            asset_key=LOSSES,
            check_name=check.name,
            passed=not failed,
            severity=_severity(check),
            metadata={
                "days": len(results),
                "failed days": _listed(failed) or "none",
                **_bad_rows(results),
            },
        )

    def _failure(self, bad: Sequence[date]) -> dg.Failure:
        failed = [
            outcome
            for day in bad
            for outcome in self._outcomes[day]
            if not outcome.is_done
        ]
        count = f"{len(bad)} of {len(self.days)} days"
        first = "".join(f"\n{_in_words(outcome)}" for outcome in failed[:SAMPLE_ROWS])
        more = len(failed) - SAMPLE_ROWS
        return dg.Failure(
            description=f"{count} not done: {_listed(bad)}{first}"
            + (f"\nand {more} more, see `pushloss status`" if more > 0 else ""),
            metadata={
                "failed apps": _told(failed),
                "failed days": _listed(bad),
                "good days": len(self.days) - len(bad),
                NOT_ASKED: dg.MetadataValue.json(_not_asked(failed)),
            },
            allow_retries=False,
        )


def warehouse_metadata(parts: Parts, published: Published) -> dict[str, Any]:
    """What Dagster's UI shows of the published file."""
    return {
        "dagster/row_count": published.push_loss_rows,
        "changed app days": published.changed_days,
        "file": dg.MetadataValue.path(parts.warehouse.path),
    }


def report_metadata(written: WrittenReport) -> dict[str, Any]:
    """What Dagster's UI shows of a report."""
    return {
        "report": dg.MetadataValue.url(written.path.absolute().as_uri()),
        "file": dg.MetadataValue.path(written.path),
        "in a sentence": dg.MetadataValue.md(escape(written.headline)),
        "losses": written.lost_count,
        "residual": written.residual_count,
        "incidents": written.anomaly_count,
    }


@contextmanager
def failing_in_words() -> Iterator[None]:
    """Our errors fail the whole step in their own words; no error tells a secret."""
    with discreet():
        try:
            yield
        except PushLossError as problem:
            words = masked(str(problem))
            raise dg.Failure(description=words, allow_retries=False) from None


def _in_words(outcome: DayOutcome) -> str:
    advice = f" → {outcome.advice}" if outcome.advice else ""
    return f"{outcome.app} {outcome.loss_date} {outcome.problem}{advice}"


def _not_asked(failed: Sequence[DayOutcome]) -> dict[str, str]:
    """The reason of each app that was not asked, if no state of its days says why."""
    told = {outcome.app for outcome in failed if outcome.state in _TELLING}
    return {
        outcome.app: outcome.problem
        for outcome in reversed(failed)
        if outcome.problem.startswith("not asked") and outcome.app not in told
    }


def _told(outcomes: Sequence[DayOutcome]) -> dg.MarkdownMetadataValue:
    failed = [outcome for outcome in outcomes if not outcome.is_done]
    lines = [
        f"- **{outcome.app} {outcome.loss_date}** {outcome.problem}"
        + (f"  \n  → {outcome.advice}" if outcome.advice else "")
        for outcome in failed[:NAMED_PROBLEMS]
    ]
    if len(failed) > NAMED_PROBLEMS:
        lines.append(f"- and {len(failed) - NAMED_PROBLEMS} more")
    return dg.MetadataValue.md("\n".join(lines))


def _listed(days: Sequence[date]) -> str:
    return ", ".join(map(str, days))


def _severity(check: Statement) -> dg.AssetCheckSeverity:
    if check.is_fatal:
        return dg.AssetCheckSeverity.ERROR
    return dg.AssetCheckSeverity.WARN


def _bad_rows(results: Mapping[date, CheckResult]) -> dict[str, Any]:
    count = sum(len(result.bad_rows.rows) for result in results.values())
    if not count:
        return {"bad rows": 0}
    records = [
        dg.TableRecord({"day": str(day), **{name: _plain(row[name]) for name in row}})
        for day, result in results.items()
        for row in result.bad_rows.as_dicts()
    ]
    sample = records[:SAMPLE_ROWS]
    columns = [dg.TableColumn(name) for name in sample[0].data]
    return {
        "bad rows": count,
        "sample": dg.MetadataValue.table(sample, schema=dg.TableSchema(columns)),
    }


def _plain(value: Any) -> str | int | float | bool | None:
    is_plain = isinstance(value, int | float | bool | None)
    return value if is_plain else masked(str(value))
