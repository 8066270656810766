"""The sensor that tells on-call people what broke; its cursor remembers what it told.

Whatever is wrong with the channel, no run hears of it.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import dagster as dg

from pushloss_pipeline.adapters.alarm_channel import AlarmChannel
from pushloss_pipeline.adapters.masking import discreet, masked
from pushloss_pipeline.alarming import Lookout, channel_of, in_messages
from pushloss_pipeline.defs.ledger import NOT_ASKED
from pushloss_pipeline.defs.runs import MAINTENANCE_JOB, is_ours
from pushloss_pipeline.defs.schedules import LOAD_JOB, REPLAY_JOB
from pushloss_pipeline.domain.alarms import Alarm, Memory, RunAlarm, read_memory
from pushloss_pipeline.domain.errors import PushLossError
from pushloss_pipeline.domain.words import counted
from pushloss_pipeline.steps import Parts

EVERY_SECONDS = 120
FIRST_LOOK = timedelta(hours=24)
"""How far back the first evaluation looks for failed runs."""
RUNS_AT_ONCE = 50
_COMMANDS = {LOAD_JOB: "load", REPLAY_JOB: "replay", MAINTENANCE_JOB: "doctor"}


def alarm_sensor(parts: Parts) -> dg.SensorDefinition:
    """Tells each trouble once, through each service of the channel."""
    lookout, failed_runs = Lookout(parts), FailedRuns()

    @dg.sensor(
        name="push_loss_alarms",
        minimum_interval_seconds=EVERY_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Tells what broke and whose move it is through apprise: chat, mail "
        "or webhook, as the variable says that alarm_url_env names. Each trouble is "
        "told once; what could not be sent is tried again.",
    )
    @discreet()
    def push_loss_alarms(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        try:
            channel = channel_of(parts)
        except PushLossError as problem:
            return dg.SkipReason(masked(str(problem)))
        now = parts.clock()
        today = now.astimezone(parts.settings.timezone).date()
        memory = read_memory(context.cursor)
        alarms, notes = _day_alarms(parts, lookout)
        if not notes:
            memory = memory.only(channel.services, holding=alarms, today=today)
        after = {
            service: memory.runs_after.get(service, now - FIRST_LOOK)
            for service in channel.services
        }
        told = []
        for service, runs in failed_runs.after(context.instance, after).items():
            news = alarms + [alarm for of_run, _ in runs for alarm in of_run]
            memory, note = _tell(parts, channel, service, memory, news, today)
            memory = _past_runs(memory, service, after[service], runs, today)
            told += note
        context.update_cursor(memory.as_text())
        reason = masked("; ".join([*told, *notes])) or "nothing new to tell"
        context.log.info(reason)
        return dg.SkipReason(reason)

    return push_loss_alarms


def _day_alarms(parts: Parts, lookout: Lookout) -> tuple[list[Alarm], list[str]]:
    """Alarms of the published file; where it cannot be asked, a note that says so."""
    if not parts.warehouse.path.exists():
        return [], ["nothing is loaded yet"]
    try:
        return lookout.alarms(), []
    except PushLossError as problem:
        return [], [f"the days are not looked at: {problem}"]


def _tell(
    parts: Parts,
    channel: AlarmChannel,
    service: str,
    memory: Memory,
    alarms: Sequence[Alarm],
    today: date,
) -> tuple[Memory, list[str]]:
    """Send a service what it was not told yet; what came of it, in words."""
    notes = []
    news = in_messages(parts, memory.news(service, alarms, today))
    sent = channel.send(service, news)
    keys = [key for message in sent for key in message.keys]
    if sent:
        notes.append(f"{counted(len(sent), 'message')} sent through {service}")
    if left := len(news) - len(sent):
        notes.append(
            f"{counted(left, 'message')} could not be sent through {service};"
            " tried again"
        )
    return memory.with_told(service, keys, today), notes


Found = tuple[list[RunAlarm], datetime]
"""What a failed run tells, nothing where it is told otherwise; its last change."""


class FailedRuns:
    """Reads why runs failed; no log twice while a service waits to be told of it."""

    def __init__(self) -> None:
        self._alarms: dict[str, list[RunAlarm]] = {}

    def after(
        self, instance: dg.DagsterInstance, moments: Mapping[str, datetime]
    ) -> dict[str, list[Found]]:
        """By service, as the moments are: the oldest runs that changed later."""
        found = {
            service: _failed_after(instance, moment)
            for service, moment in moments.items()
        }
        runs = {
            record.dagster_run.run_id: record.dagster_run
            for records in found.values()
            for record in records
        }
        self._alarms = {
            run_id: self._alarms[run_id]
            if run_id in self._alarms
            else _run_alarms(instance, run)
            for run_id, run in runs.items()
        }
        return {
            service: [
                (self._alarms[r.dagster_run.run_id], _in_utc(r.update_timestamp))
                for r in records
            ]
            for service, records in found.items()
        }


def _failed_after(
    instance: dg.DagsterInstance, moment: datetime
) -> Sequence[dg.RunRecord]:
    return instance.get_run_records(
        dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE], updated_after=moment),
        limit=RUNS_AT_ONCE,
        order_by="update_timestamp",
        ascending=True,
    )


def _in_utc(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _past_runs(
    memory: Memory, service: str, after: datetime, runs: list[Found], today: date
) -> Memory:
    """Look no more at runs that the service knows of, and at any before the first."""
    for alarms, changed_at in runs:
        if memory.news(service, alarms, today):
            break
        after = changed_at
    return memory.with_runs_after(service, after)


def _run_alarms(instance: dg.DagsterInstance, run: dg.DagsterRun) -> list[RunAlarm]:
    """What a failed run of ours tells; nothing where that comes otherwise, or later."""
    if not is_ours(run) or run.tags.get("dagster/will_retry") == "true":
        return []
    reasons: dict[str, list[str]] = defaultdict(list)
    for lasting_cause, reason in _reasons(instance, run):
        reasons[lasting_cause].append(reason)
    job = run.job_name if run.job_name in _COMMANDS else "a run of assets"
    return [
        RunAlarm(run.run_id, job, "\n".join(texts), _command(run), lasting_cause)
        for lasting_cause, texts in reasons.items()
    ]


def _reasons(
    instance: dg.DagsterInstance, run: dg.DagsterRun
) -> Iterator[tuple[str, str]]:
    """Lasting cause, if it is one, and why it failed; not what states of days tell."""
    steps = instance.all_logs(run.run_id, of_type=dg.DagsterEventType.STEP_FAILURE)
    for entry in steps:
        event = entry.get_dagster_event()
        told = event.step_failure_data.user_failure_data
        if told and NOT_ASKED in told.metadata:
            not_asked = told.metadata[NOT_ASKED].value
            assert isinstance(not_asked, dict)
            for app, why in not_asked.items():
                cause = f"{app} {why}"
                yield cause, cause
        elif told and told.description:
            yield "", told.description
        else:
            yield "", _innermost(event.step_failure_data.error)
    if steps:
        return
    for entry in instance.all_logs(run.run_id, of_type=dg.DagsterEventType.RUN_FAILURE):
        event = entry.get_dagster_event()
        yield "", event.message or entry.user_message or "it ended"


def _innermost(error: Any) -> str:
    """What was raised, without where."""
    while error and error.cause:
        error = error.cause
    return str(error.message).strip() if error else "the step failed"


def _command(run: dg.DagsterRun) -> str:
    """What runs its days again, or shows that it is mended."""
    command = _COMMANDS.get(run.job_name, "load")
    if command == "doctor":
        return "pushloss doctor"
    first = run.tags.get("dagster/asset_partition_range_start")
    last = run.tags.get("dagster/asset_partition_range_end")
    first, last = first or run.tags.get("dagster/partition"), last or first
    if not first:
        return ""
    missing = " --missing" if command == "load" else ""
    return f"pushloss {command} {first} {last or first}{missing}"
