"""Runs a job in this process, recorded in the Dagster instance like any other run."""

import contextlib
import os
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import dagster as dg
from filelock import FileLock
from sqlalchemy.exc import DBAPIError

from pushloss_pipeline.adapters.disk import make_open_folder, with_advice
from pushloss_pipeline.definitions import build_definitions
from pushloss_pipeline.defs.schedules import range_tags
from pushloss_pipeline.domain.errors import ConfigurationError, StoreError
from pushloss_pipeline.settings import Settings
from pushloss_pipeline.steps import Listener

_CHECKOUT = Path(__file__).resolve().parents[1]
_PROCESS_TAG = "pushloss/process"
_UNFINISHED = (
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
)


@dataclass(frozen=True, slots=True)
class Finished:
    """How a run ended; `problem` is empty where all its days are good."""

    run_id: str
    problem: str


def run_job(
    settings: Settings,
    job: str,
    days: Sequence[date],
    *,
    apps: Sequence[str],
    only_missing: bool,
    listener: Listener,
) -> Finished:
    """Run one job over all these days as one run; Dagster's log stays silent.

    Interrupted, it keeps and reports what is finished, then raises KeyboardInterrupt.
    """
    # No pool here: were this process killed, nobody would give its slot back.
    definitions = build_definitions(settings, listener=listener, pool=None)
    options = {"apps": list(apps), "only_missing": only_missing}
    with _store_told(settings), open_instance(settings) as instance:
        _close_killed_runs(instance)
        result = definitions.resolve_job_def(job).execute_in_process(
            instance=instance,
            raise_on_error=False,
            tags={
                **range_tags(min(days).isoformat(), max(days).isoformat()),
                _PROCESS_TAG: _process(),
                # Whoever typed the command runs it again; the daemon could not.
                "dagster/max_retries": "0",
            },
            run_config={
                "ops": {"load_push_loss": {"config": options}},
                "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
            },
        )
        try:
            return Finished(result.run_id, _problem(result))
        except KeyboardInterrupt:
            # Not failed: somebody wanted it so, and nobody need be called.
            instance.report_run_canceled(result.dagster_run, message="Ctrl-C")
            raise


@contextlib.contextmanager
def _store_told(settings: Settings) -> Iterator[None]:
    """What Dagster's own store cannot do, in words."""
    try:
        yield
    except DBAPIError as problem:
        home = Path(os.environ.get("DAGSTER_HOME") or settings.local_dir)
        told = with_advice(
            str(problem.orig), home, otherwise="mend it, then run it again"
        )
        raise StoreError(f"cannot write Dagster's store in {home}: {told}") from problem


def _problem(result: dg.ExecuteInProcessResult) -> str:
    for event in result.all_events:
        if event.is_step_failure:
            data = event.step_failure_data
            if data.error_source and data.error_source.value == "INTERRUPT":
                raise KeyboardInterrupt
            if data.user_failure_data and data.user_failure_data.description:
                return data.user_failure_data.description
            return data.error.message.strip() if data.error else "the step failed"
    return "" if result.success else "the run did not finish"


@contextlib.contextmanager
def open_instance(settings: Settings) -> Iterator[dg.DagsterInstance]:
    """The instance of DAGSTER_HOME, or of this checkout's `dagster.yaml`.

    An installed package has no checkout: its runs are kept in the data folder.
    """
    try:
        make_open_folder(settings.local_dir)
        first = FileLock(settings.local_dir / "dagster.lock")
        first.acquire()
    except OSError as problem:
        raise StoreError(
            f"cannot write to {settings.local_dir}: {problem.strerror}; run this as"
            " the user that owns it"
        ) from None
    with contextlib.ExitStack() as opened:
        # Who opens an instance first makes its store; two at once would collide.
        with first:
            first.release()  # acquired twice: the block holds it
            instance = opened.enter_context(_instance_of(settings, opened))
        yield instance


def _instance_of(
    settings: Settings, opened: contextlib.ExitStack
) -> dg.DagsterInstance:
    if home := os.environ.get("DAGSTER_HOME"):
        if not (os.path.isabs(home) and os.path.isdir(home)):
            raise ConfigurationError(
                f"DAGSTER_HOME is {home}, which is no folder with an absolute path; "
                "create it, or unset the variable"
            )
        return dg.DagsterInstance.get()
    if (_CHECKOUT / "dagster.yaml").is_file():
        # Paths in the file are relative to the folder Dagster is started in.
        opened.enter_context(contextlib.chdir(_CHECKOUT))
        return dg.DagsterInstance.from_config(str(_CHECKOUT))
    folder = settings.local_dir / "dagster"
    folder.mkdir(exist_ok=True, mode=0o700)
    return dg.DagsterInstance.from_config(str(folder))


def _close_killed_runs(instance: dg.DagsterInstance) -> None:
    """A run whose process was killed would look as if it went on for ever."""
    for run in instance.get_runs(filters=dg.RunsFilter(statuses=_UNFINISHED)):
        process = run.tags.get(_PROCESS_TAG)
        if process and not _is_alive(process):
            instance.report_run_failed(run, message="its process was killed")


def _process() -> str:
    return f"{socket.gethostname()}:{os.getpid()}"


def _is_alive(process: str) -> bool:
    """Whether it may still run; what runs on another machine is taken to."""
    host, _, pid = process.rpartition(":")
    if host != socket.gethostname():
        return True
    if process == _process():
        return False  # this one has not begun: in a container numbers come again
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
