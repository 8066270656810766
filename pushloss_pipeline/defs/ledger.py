"""Tells Dagster the truth of each day of a run that covers many.

A range run has one step: a plain result would turn all its days green or all
of them red. So good days are reported one by one, bad ones fail the step.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import date
from typing import Any

import dagster as dg

from pushloss_pipeline.adapters.sql_files import read_statement
from pushloss_pipeline.domain.errors import PushLossError
from pushloss_pipeline.steps import (
    CheckResult,
    DayOutcome,
    Parts,
    check_day,
    day_figures,
)

RESPONSES = dg.AssetKey("push_loss_responses")
LOSSES = dg.AssetKey("push_loss")
SAMPLE_ROWS = 10
"""Bad rows that a failed check shows."""

Result = dg.MaterializeResult[None] | dg.AssetCheckResult


class Ledger:
    """Outcomes of one run by day."""

    def __init__(
        self,
        context: dg.AssetExecutionContext,
        parts: Parts,
        days: Sequence[date],
        names: Sequence[str],
    ) -> None:
        self._context = context
        self._parts = parts
        self._days = days
        self._names = names
        self._outcomes: dict[date, list[DayOutcome]] = defaultdict(list)
        self._failed_checks: dict[str, list[date]] = defaultdict(list)
        self._is_complete = False

    def add(self, outcome: DayOutcome) -> None:
        """Note an outcome, and the day's progress in the run's log."""
        outcomes = self._outcomes[outcome.loss_date]
        outcomes.append(outcome)
        told = self._context.log.warning if outcome.problem else self._context.log.info
        told(
            f"day={outcome.loss_date} app={outcome.app}"
            f" state={outcome.state.value if outcome.state else 'unknown'}"
            f" revision={outcome.revision} rows={outcome.row_count}"
            f" calls={outcome.calls} {outcome.problem}".rstrip()
        )

    def complete(self) -> None:
        """The walk came to its end: a day without outcomes needed none."""
        self._is_complete = True

    def report(self) -> None:
        """Report every good day on its own, with its checks; call it once."""
        bad = [day for day in self._days if not self._is_good(day)]
        for day in self._days:
            if self._is_finished(day):
                self._report_checks(day)
            if self._is_good(day):
                self._report_good(day, is_run_good=not bad)

    def results(self) -> Iterator[Result]:
        """What the step returns; raises where any day is bad."""
        bad = [day for day in self._days if not self._is_good(day)]
        if bad:
            raise self._failure(bad)
        for key in (RESPONSES, LOSSES):
            if key in self._context.selected_asset_keys:
                yield dg.MaterializeResult(asset_key=key)
        for check in sorted(self._context.selected_asset_check_keys):
            failed = self._failed_checks[check.name]
            yield dg.AssetCheckResult(
                asset_key=check.asset_key,
                check_name=check.name,
                passed=not failed,
                severity=self._severity_of(check.name),
                metadata={
                    "days": len(self._days),
                    "failed_days": ", ".join(map(str, failed)) or "none",
                },
            )

    def _is_finished(self, day: date) -> bool:
        return self._is_complete or len(self._outcomes[day]) == len(self._names)

    def _is_good(self, day: date) -> bool:
        all_done = all(outcome.is_done for outcome in self._outcomes[day])
        return self._is_finished(day) and all_done

    def _report_good(self, day: date, *, is_run_good: bool) -> None:
        metadata = self._metadata(day)
        for key in sorted(self._context.selected_asset_keys):
            if is_run_good:
                self._context.add_asset_metadata(
                    metadata, asset_key=key, partition_key=day.isoformat()
                )
            else:
                self._context.log_event(
                    dg.AssetMaterialization(
                        key, partition=day.isoformat(), metadata=metadata
                    )
                )

    def _metadata(self, day: date) -> dict[str, Any]:
        outcomes = self._outcomes[day]
        calls = sum(outcome.calls for outcome in outcomes)
        figures = day_figures(self._parts, day)
        return {
            "dagster/partition_row_count": figures.pop("row_count"),
            **figures,
            "apps": len(outcomes),
            "calls": calls,
            "retries": sum(max(0, outcome.calls - 1) for outcome in outcomes),
            "new_revisions": sum(outcome.is_new_revision for outcome in outcomes),
        }

    def _report_checks(self, day: date) -> None:
        selected = {key.name for key in self._context.selected_asset_check_keys}
        if not selected:
            return
        for result in check_day(self._parts, day):
            name = result.statement.name
            if name not in selected:
                continue
            if not result.is_passed:
                self._failed_checks[name].append(day)
            self._context.log_event(
                dg.AssetCheckEvaluation(
                    asset_key=LOSSES,
                    check_name=name,
                    passed=result.is_passed,
                    severity=_severity(result.statement.labels["Severity"]),
                    metadata=_bad_rows(result),
                    partition=day.isoformat(),
                )
            )

    def _severity_of(self, check_name: str) -> dg.AssetCheckSeverity:
        return _severity(read_statement("checks", check_name).labels["Severity"])

    def _failure(self, bad: Sequence[date]) -> dg.Failure:
        lines = [
            f"- **{outcome.app} {outcome.loss_date}** {outcome.problem}"
            + (f"  \n  {outcome.advice}" if outcome.advice else "")
            for day in bad
            for outcome in self._outcomes[day]
            if outcome.problem
        ]
        return dg.Failure(
            description=f"{len(bad)} of {len(self._days)} days are not done: "
            + ", ".join(map(str, bad)),
            metadata={
                "failed": dg.MetadataValue.md("\n".join(lines)),
                "good_days": len(self._days) - len(bad),
            },
            allow_retries=False,
        )


def failure_of(problem: PushLossError) -> dg.Failure:
    """A failure of the whole step, in the words of its cause."""
    return dg.Failure(description=str(problem), allow_retries=False)


def _severity(word: str) -> dg.AssetCheckSeverity:
    is_fatal = word == "fail"
    return dg.AssetCheckSeverity.ERROR if is_fatal else dg.AssetCheckSeverity.WARN


def _bad_rows(result: CheckResult) -> dict[str, Any]:
    rows = result.bad_rows
    if not rows.rows:
        return {"bad_rows": 0}
    columns = [dg.TableColumn(name) for name in rows.columns]
    records = [
        dg.TableRecord({name: _plain(value) for name, value in row.items()})
        for row in rows.as_dicts()[:SAMPLE_ROWS]
    ]
    return {
        "bad_rows": len(rows.rows),
        "sample": dg.MetadataValue.table(records, schema=dg.TableSchema(columns)),
    }


def _plain(value: Any) -> str | int | float | bool | None:
    return value if isinstance(value, str | int | float | bool | None) else str(value)
