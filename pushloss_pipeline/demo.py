"""`make demo`: a simulated week, loaded through Dagster, in a folder of its own."""

import os
import subprocess
import sys
from datetime import date, timedelta
from pathlib import Path

from rich.console import Console
from rich.padding import Padding

from pushloss_pipeline.adapters.sql_files import read_statement
from pushloss_pipeline.cli import make_console, rows_table
from pushloss_pipeline.domain.window import askable_days
from pushloss_pipeline.parts import open_parts, utc_now
from pushloss_pipeline.settings import CONFIG_VARIABLE, DATA_DIR_VARIABLE, read_settings
from pushloss_pipeline.simulator.scenario import DEMO_APPS, SimulatedApp, demo_scenario
from pushloss_pipeline.simulator.server import running
from pushloss_pipeline.steps import Parts

FOLDER = Path("data") / "demo"
DAYS = 7


def main() -> None:
    """Simulate, load, summarize; run again, it changes only what the API changed."""
    console = make_console()
    folder = FOLDER.absolute()
    with running(demo_scenario(date.today())) as simulator:
        _write_configuration(folder, simulator.url)
        parts = open_parts(read_settings())
        days = askable_days(
            parts.settings.timezone, parts.settings.retention_days, utc_now()
        )[-DAYS:]
        console.print(
            f"[bold]1[/] A simulator of the API answers at {simulator.url}\n"
            f"[bold]2[/] Loading {days[0]} to {days[-1]} of {len(DEMO_APPS)} apps "
            "through Dagster, at one call per second and app …"
        )
        command = [sys.executable, "-m", "pushloss_pipeline", "load"]
        loaded = subprocess.run(  # noqa: S603 - our own command and two dates
            [*command, str(days[0]), str(days[-1])], check=False
        )
    if loaded.returncode:
        sys.exit(loaded.returncode)
    _summarize(console, parts, days[0], days[-1])


def _write_configuration(folder: Path, url: str) -> None:
    """Point this process and its children at the demo's own folder and instance."""
    home = folder / "dagster"
    home.mkdir(parents=True, exist_ok=True)
    (home / "dagster.yaml").write_text(
        "telemetry: {enabled: false}\nnux: {enabled: false}\n"
    )
    config = folder / "pushloss.toml"
    tables = "\n".join(_app_table(app, url) for app in DEMO_APPS)
    start = date.today() - timedelta(days=DAYS + 1)
    config.write_text(
        "# Written by `make demo`; the apps and their keys are made up.\n"
        f'data_dir = "."\nstart_date = "{start}"\n\n{tables}'
    )
    os.environ.pop(DATA_DIR_VARIABLE, None)
    os.environ[CONFIG_VARIABLE] = str(config)
    os.environ["DAGSTER_HOME"] = str(home)
    for app in DEMO_APPS:
        os.environ[_key_variable(app)] = app.secret_key


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
    console.print(
        f"[bold]3[/] {rows:,} rows of {days} app days are in the warehouse."
        " The top losses:\n"
    )
    console.print(Padding(rows_table(top), (0, 0, 0, 2), expand=False))
    console.print(
        f"\nwarehouse  {warehouse}\n"
        f"try        export {CONFIG_VARIABLE}={config}\n"
        "           .venv/bin/pushloss status\n"
        '           .venv/bin/pushloss sql "from push_loss_days"',
        markup=False,
    )


if __name__ == "__main__":
    main()
