"""`make demo`: a simulated week, loaded through Dagster, in a folder of its own."""

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from datetime import date, datetime, time, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from rich.console import Console
from rich.padding import Padding

from pushloss_pipeline.adapters.sql_files import read_statement
from pushloss_pipeline.cli import make_console, rows_table
from pushloss_pipeline.domain.model import AppDay
from pushloss_pipeline.domain.window import askable_days, last_complete_day
from pushloss_pipeline.parts import open_parts, utc_now
from pushloss_pipeline.reporting import default_path
from pushloss_pipeline.settings import (
    CONFIG_VARIABLE,
    DATA_DIR_VARIABLE,
    Settings,
    read_settings,
)
from pushloss_pipeline.simulator.scenario import DEMO_APPS, SimulatedApp, demo_scenario
from pushloss_pipeline.simulator.server import running
from pushloss_pipeline.steps import Parts, load_days

FOLDER = Path("data") / "demo"
ZONE = ZoneInfo("Asia/Shanghai")
MORNING = time(10, 30)
DAYS = 7
PAST_WEEKS = 9
"""Enough for the usual range of a weekday, which incidents are told by."""
DAILY_WEEKS = 2
"""Enough to measure how much of a day is known at each age."""


def main() -> None:
    """Simulate, load, summarize; run again, it changes only what the API changed."""
    console = make_console()
    folder = FOLDER.absolute()
    last = last_complete_day(ZONE, utc_now())
    today = last + timedelta(days=1)
    scenario = demo_scenario(today)
    first = last - timedelta(days=DAYS - 1)
    with running(scenario, calls_per_second=None) as past:
        console.print(
            f"[bold]1[/] A simulator of the API tells of {PAST_WEEKS} past weeks, "
            "loaded as they would have been then …"
        )
        settings = write_configuration(
            folder, past.url, today=today, calls_per_second=1000.0
        )
        load_past(settings, past.set_now, until=first)
    with running(scenario) as simulator:
        settings = write_configuration(folder, simulator.url, today=today)
        console.print(
            f"[bold]2[/] Loading {first} to {last} of {len(DEMO_APPS)} apps "
            "through Dagster, at one call per second and app …"
        )
        command = [sys.executable, "-m", "pushloss_pipeline", "load"]
        loaded = subprocess.run(  # noqa: S603 - our own command and two dates
            [*command, str(first), str(last)], check=False
        )
    if loaded.returncode:
        sys.exit(loaded.returncode)
    _summarize(console, open_parts(settings), first, last)


def load_past(
    settings: Settings, set_now: Callable[[datetime], None], *, until: date
) -> None:
    """Load the weeks before a day as a pipeline would have that ran at the time.

    It ran each morning in the newest of these weeks and, so that the demo is quick,
    every fourth one before, which finds each day at 3 days or older. Days that were
    loaded before are left alone.
    """
    past = [until - timedelta(days=n) for n in range(DAYS * PAST_WEEKS, 0, -1)]
    now = datetime.combine(past[0], MORNING, ZONE)
    parts = open_parts(settings, clock=lambda: now)
    new = _unknown_days(parts, past)
    for number in range(1, len(past) + settings.retention_days):
        now += timedelta(days=1)
        if number % 4 and number <= DAYS * (PAST_WEEKS - DAILY_WEEKS):
            continue
        set_now(now)
        days = askable_days(ZONE, settings.retention_days, now)
        if wanted := [day for day in days if day in new]:
            load_days(parts, settings.select(), wanted)


def _unknown_days(parts: Parts, days: Sequence[date]) -> set[date]:
    keys = [
        AppDay(app.sdk_app_id, day)
        for app in parts.settings.apps.values()
        for day in days
    ]
    standings = parts.lake.standings(keys)
    return {key.loss_date for key in keys if standings[key] is None}


def write_configuration(
    folder: Path, url: str, *, today: date, calls_per_second: float = 1.0
) -> Settings:
    """Point this process and its children at the demo's own folder and instance."""
    home = folder / "dagster"
    home.mkdir(parents=True, exist_ok=True)
    (home / "dagster.yaml").write_text(
        "telemetry: {enabled: false}\nnux: {enabled: false}\n"
    )
    config = folder / "pushloss.toml"
    tables = "\n".join(_app_table(app, url) for app in DEMO_APPS)
    start = today - timedelta(days=DAYS * (PAST_WEEKS + 2))
    config.write_text(
        "# Written by `make demo`; the apps and their keys are made up.\n"
        f'data_dir = "."\nstart_date = "{start}"\n'
        f"calls_per_second = {calls_per_second}\n\n{tables}"
    )
    os.environ.pop(DATA_DIR_VARIABLE, None)
    os.environ[CONFIG_VARIABLE] = str(config)
    os.environ["DAGSTER_HOME"] = str(home)
    for app in DEMO_APPS:
        os.environ[_key_variable(app)] = app.secret_key
    return read_settings()


def _app_table(app: SimulatedApp, url: str) -> str:
    return (
        f"[apps.{app.name}]\n"
        f"sdk_app_id = {app.sdk_app_id}\n"
        f'endpoint = "{url}"\n'
        f'identifier = "{app.identifier}"\n'
        f'secret_key_env = "{_key_variable(app)}"\n'
    )


def _key_variable(app: SimulatedApp) -> str:
    return f"PUSHLOSS_DEMO_SECRET_{app.name.upper()}"


def _summarize(console: Console, parts: Parts, first: date, last: date) -> None:
    question = read_statement("queries", "top_losses")
    top = parts.warehouse.query(question.text, {"first": first, "last": last})
    counted = parts.warehouse.query(
        "select count(*), count(distinct (sdk_app_id, loss_date)) from push_loss"
    )
    ((rows, days),) = counted.rows
    config = os.path.relpath(parts.settings.config_path)
    warehouse = os.path.relpath(parts.warehouse.path)
    report = os.path.relpath(default_path(parts))
    console.print(
        f"[bold]3[/] {rows:,} rows of {days} app days are in the warehouse."
        " The top losses:\n"
    )
    console.print(Padding(rows_table(top), (0, 0, 0, 2), expand=False))
    console.print(
        f"\nreport     {report}   (open it in a browser)\n"
        f"warehouse  {warehouse}\n"
        f"try        export {CONFIG_VARIABLE}={config}\n"
        "           .venv/bin/pushloss status\n"
        '           .venv/bin/pushloss sql "from push_loss_days"',
        markup=False,
    )


if __name__ == "__main__":
    main()
