"""The sensor that tells on-call people what broke; its cursor remembers what it told.

Whatever is wrong with the channel, no run hears of it.
"""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg

from pushloss_pipeline.adapters.alarm_channel import AlarmChannel
from pushloss_pipeline.alarming import alarms_now, channel_of, in_messages
from pushloss_pipeline.defs.ledger import LOSSES, NOT_ASKED, REPORT, RESPONSES
from pushloss_pipeline.defs.schedules import LOAD_JOB, REPLAY_JOB
from pushloss_pipeline.domain.alarms import Alarm, Memory, RunAlarm, read_memory
from pushloss_pipeline.domain.errors import PushLossError
from pushloss_pipeline.domain.words import counted
from pushloss_pipeline.steps import Parts

EVERY_SECONDS = 120
FIRST_LOOK = timedelta(hours=24)
"""How far back the first evaluation looks for failed runs."""
RUNS_AT_ONCE = 50
_JOBS = {LOAD_JOB: "load", REPLAY_JOB: "replay"}
_ASSETS = frozenset({RESPONSES, LOSSES, dg.AssetKey("warehouse"), REPORT})


def alarm_sensor(parts: Parts) -> dg.SensorDefinition:
    """Tells each trouble once, through each service of the channel."""

    @dg.sensor(
        name="push_loss_alarms",
        minimum_interval_seconds=EVERY_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Tells what broke and whose move it is through apprise: chat, mail "
        "or webhook, as the variable says that alarm_url_env names. Each trouble is "
        "told once; what could not be sent is tried again.",
    )
    def push_loss_alarms(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        try:
            channel = channel_of(parts)
        except PushLossError as problem:
            return dg.SkipReason(str(problem))
        memory = read_memory(context.cursor)
        after = memory.runs_after or parts.clock() - FIRST_LOOK
        alarms, notes = _day_alarms(parts)
        runs = _failed_runs(context.instance, after)
        alarms += [alarm for alarm, _ in runs if alarm is not None]
        memory, told = _tell(parts, channel, memory, alarms)
        memory = _past_runs(replace(memory, runs_after=after), channel, runs)
        context.update_cursor(memory.as_text(parts.clock().date()))
        reason = "; ".join([*told, *notes]) or "nothing new to tell"
        context.log.info(reason)
        return dg.SkipReason(reason)

    return push_loss_alarms


def _day_alarms(parts: Parts) -> tuple[list[Alarm], list[str]]:
    """Alarms of the published file; where it cannot be asked, a note that says so."""
    if not parts.warehouse.path.exists():
        return [], ["nothing is loaded yet"]
    try:
        return alarms_now(parts), []
    except PushLossError as problem:
        return [], [f"the days are not looked at: {problem}"]


def _tell(
    parts: Parts, channel: AlarmChannel, memory: Memory, alarms: list[Alarm]
) -> tuple[Memory, list[str]]:
    """Send each service what it was not told yet; what came of it, in words."""
    notes = []
    today = parts.clock().date()
    for service in channel.services:
        news = in_messages(parts, memory.news(service, alarms))
        sent = channel.send(service, news)
        keys = [key for message in sent for key in message.keys]
        memory = memory.with_told(service, keys, today)
        if sent:
            notes.append(f"{counted(len(sent), 'message')} sent through {service}")
        if left := len(news) - len(sent):
            notes.append(
                f"{counted(left, 'message')} could not be sent through {service};"
                " tried again"
            )
    return memory, notes


Found = tuple[RunAlarm | None, datetime]
"""A failed run, None where it is told otherwise; and when it last changed."""


def _failed_runs(instance: dg.DagsterInstance, after: datetime) -> list[Found]:
    records = instance.get_run_records(
        dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE], updated_after=after),
        limit=RUNS_AT_ONCE,
        order_by="update_timestamp",
        ascending=True,
    )
    return [
        (_run_alarm(instance, record.dagster_run), _in_utc(record.update_timestamp))
        for record in records
    ]


def _in_utc(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _past_runs(memory: Memory, channel: AlarmChannel, runs: list[Found]) -> Memory:
    """Look no more at runs that all services know of, and at any before the first."""
    for alarm, changed_at in runs:
        if alarm and any(memory.news(name, [alarm]) for name in channel.services):
            break
        memory = replace(memory, runs_after=changed_at)
    return memory


def _run_alarm(instance: dg.DagsterInstance, run: dg.DagsterRun) -> RunAlarm | None:
    """The alarm of a failed run of ours; None where it is told otherwise, or later."""
    if not _is_ours(run) or run.tags.get("dagster/will_retry") == "true":
        return None
    reason = "\n".join(_reasons(instance, run))
    if not reason:
        return None
    job = run.job_name if run.job_name in _JOBS else "a run of assets"
    return RunAlarm(run.run_id, job, reason, _command(run))


def _is_ours(run: dg.DagsterRun) -> bool:
    if run.job_name in _JOBS:
        return True
    return run.job_name.startswith("__ASSET_JOB") and bool(
        _ASSETS & (run.asset_selection or frozenset())
    )


def _reasons(instance: dg.DagsterInstance, run: dg.DagsterRun) -> Iterator[str]:
    """Why it failed, without what the states of days tell."""
    steps = instance.all_logs(run.run_id, of_type=dg.DagsterEventType.STEP_FAILURE)
    for entry in steps:
        event = entry.get_dagster_event()
        told = event.step_failure_data.user_failure_data
        if told and NOT_ASKED in told.metadata:
            not_asked = told.metadata[NOT_ASKED].value
            assert isinstance(not_asked, dict)
            yield from (f"{app} {why}" for app, why in not_asked.items())
        elif told and told.description:
            yield told.description
        else:
            yield _innermost(event.step_failure_data.error)
    if steps:
        return
    for entry in instance.all_logs(run.run_id, of_type=dg.DagsterEventType.RUN_FAILURE):
        yield entry.get_dagster_event().message or entry.user_message or "it ended"


def _innermost(error: Any) -> str:
    """What was raised, without where."""
    while error and error.cause:
        error = error.cause
    return str(error.message).strip() if error else "the step failed"


def _command(run: dg.DagsterRun) -> str:
    """What runs its days again."""
    command = _JOBS.get(run.job_name, "load")
    first = run.tags.get("dagster/asset_partition_range_start")
    last = run.tags.get("dagster/asset_partition_range_end")
    first, last = first or run.tags.get("dagster/partition"), last or first
    if not first:
        return ""
    missing = " --missing" if command == "load" else ""
    return f"pushloss {command} {first} {last or first}{missing}"
