"""Backfills, from the UI to the daemon; the browser's part by its GraphQL.

A week, cut short, and two months in one run, for an API that tells so many days.
"""

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.test_utils import freeze_time

from pushloss_pipeline.adapters.sql_files import read_statements
from tests.defs.services import (
    BACKFILL,
    DAY_ASSETS,
    RUNS,
    TERMINATE,
    Webserver,
    counts_of,
    daemon_of,
    is_over,
    launch_backfill,
    webserver_of,
)
from tests.defs.site import LOSSES, RESPONSES, Site, a_site, wait_until

NEWEST_DAY = "push_loss_newest_day"
CHECKS = read_statements("checks")
SCHEDULES = [
    {"name": name, "scheduleState": {"status": "RUNNING"}}
    for name in (
        "ask_again_schedule",
        "daily_push_loss_schedule",
        "weekly_maintenance_schedule",
    )
]

DEFINED = """{
  assetNodes { assetKey { path } partitionKeys
    assetChecksOrError { ... on AssetChecks { checks { name } } } }
  repositoriesOrError { ... on RepositoryConnection { nodes {
    schedules { name scheduleState { status } } } } } }"""
FRESHNESS = """{
  assetNodes { assetKey { path } freshnessStatusInfo { freshnessStatus } } }"""
CHECKED = """query ($day: String!) {
  assetCheckExecutions(assetKey: {path: ["push_loss"]}, checkName: "key_is_unique",
                       limit: 5, partition: $day) { status } }"""

POOL = "push_loss_api"
DAYS = 60
ANSWER = json.dumps(
    {
        "ActionStatus": "OK",
        "ErrorCode": 0,
        "ErrorInfo": "",
        "ReadyToSendLoss": [{"ErrCode": "-2", "ErrCount": 9, "ErrInfo": "no token"}],
        "PostSendDeliveredLoss": [],
        "PlatformReadyToSendLoss": [
            {"PushPlatform": 1, "ErrCode": "-2", "ErrCount": 9, "ErrInfo": "no token"}
        ],
        "PlatformPostSendDeliveredLoss": [],
    }
)
"""What the simulator is told to say of each day: its own memory is a week long."""


@dataclass(frozen=True)
class Services:
    """The UI's server and the daemon of a site, and what they began with."""

    webserver: Webserver
    defined: dict[str, Any]
    """What the UI showed before anything ran."""
    backfill: str
    """Of the newest week, launched before the daemon began."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A place whose API remembers more than two months."""
    with a_site(tmp_path_factory.mktemp("site"), retention_days=DAYS + 2) as site:
        yield site


@pytest.fixture(scope="module")
def services(site: Site) -> Iterator[Services]:
    """The UI and the daemon, for all tests: four processes that load everything."""
    long_ago = datetime.now(UTC) - timedelta(days=3)
    with freeze_time(long_ago), site.instance() as instance:
        instance.report_runless_asset_event(dg.AssetMaterialization(NEWEST_DAY))
    with ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.setenv("FRESHNESS_DAEMON_INTERVAL_SECONDS", "2")
        webserver = stack.enter_context(webserver_of(site))
        defined = webserver.ask(DEFINED)
        backfill = launch_backfill(webserver, site.days(7))
        stack.enter_context(daemon_of(site))
        yield Services(webserver, defined, backfill)


def test_a_backfill_of_a_week_is_one_run(site: Site, services: Services) -> None:
    """All is listed, the schedule is on; seven days become green by a single run.

    Before it, yesterday is late in the UI; after it, yesterday is in.
    """
    days = [str(day) for day in site.days(7)]
    webserver = services.webserver
    wait_until(lambda: newest_day(webserver) == "DEGRADED", seconds=120)
    wait_until(lambda: is_over(webserver, services.backfill), seconds=180)
    wait_until(lambda: newest_day(webserver) == "HEALTHY")
    ended = webserver.ask(BACKFILL, id=services.backfill)
    checked = [webserver.ask(CHECKED, day=day) for day in days]

    nodes = {
        node["assetKey"]["path"][0]: node for node in services.defined["assetNodes"]
    }
    (repository,) = services.defined["repositoriesOrError"]["nodes"]
    assert set(nodes) == {
        *DAY_ASSETS,
        "warehouse",
        "push_loss_report",
        NEWEST_DAY,
    }
    assert nodes["push_loss"]["partitionKeys"][-7:] == days
    assert len(nodes["push_loss"]["assetChecksOrError"]["checks"]) == len(CHECKS)
    assert sorted(repository["schedules"], key=str) == SCHEDULES
    assert ended["partitionBackfillOrError"]["status"] == "COMPLETED_SUCCESS"
    assert counts_of(ended) == dict.fromkeys(DAY_ASSETS, (7, 0))
    assert ended["runsOrError"]["results"] == [{"status": "SUCCESS"}]
    assert checked == [{"assetCheckExecutions": [{"status": "SUCCEEDED"}]}] * 7
    assert len(site.loaded()) == 14


def test_a_cancelled_backfill_keeps_its_finished_days(
    site: Site, services: Services
) -> None:
    """Days that are done are green, the slot is free, and a new run does the rest."""
    days, webserver = site.days(30)[:12], services.webserver
    held_up = {"day": str(days[8]), "body": ANSWER, "delay_seconds": 600}
    site.simulator.script([held_up, held_up, {"body": ANSWER, "times": None}])
    backfill = launch_backfill(webserver, days)
    wait_until(lambda: is_told(site, "8 of 12 days"), seconds=180)
    assert slots(site) == 1
    (run,) = runs(webserver, backfill)
    webserver.ask(TERMINATE, run=run["runId"])
    wait_until(lambda: are_over(webserver, backfill), seconds=120)
    ended = runs(webserver, backfill)

    assert [run["status"] for run in ended] == ["CANCELED"]
    assert slots(site) == 0
    for key in (RESPONSES, LOSSES):
        assert site.partitions(key, days) == ["MATERIALIZED"] * 8 + [None] * 4
    assert len(loaded(site, days)) >= 16

    site.simulator.script([{"body": ANSWER, "times": None}])
    rest = site.run(days[8:])

    assert rest.success
    assert site.partitions(LOSSES, days) == ["MATERIALIZED"] * 12


@pytest.mark.slow
def test_sixty_days_are_one_run(tmp_path: Path) -> None:
    """All are green, each with its figures; the log tells how far the run is."""
    with a_site(tmp_path, retention_days=DAYS + 2) as site:
        site.simulator.script([{"body": ANSWER, "times": None}])
        days = site.days(DAYS)
        run = site.run(days)
        lines = progress(site, run.run_id)

        assert run.success
        assert site.partitions(LOSSES, days) == ["MATERIALIZED"] * DAYS
        assert site.materialized(LOSSES, days[0])[0]["losses ready to send"] == 18
        assert lines == [f"{position} of 60 days" for position in range(1, DAYS + 1)]


def newest_day(webserver: Webserver) -> str | None:
    """What the UI shows of the newest day: HEALTHY, or DEGRADED where it is late."""
    nodes = webserver.ask(FRESHNESS)["assetNodes"]
    shown = {n["assetKey"]["path"][0]: n["freshnessStatusInfo"] for n in nodes}
    info = shown[NEWEST_DAY]
    return str(info["freshnessStatus"]) if info else None


def progress(site: Site, run_id: str) -> list[str]:
    """What a run's log says of how far it is."""
    told = [re.search(r"\d+ of \d+ days$", text) for text in messages(site, run_id)]
    return [found.group() for found in told if found]


def is_told(site: Site, text: str) -> bool:
    """Whether the log of any run holds this text."""
    with site.instance() as instance:
        run_ids = [run.run_id for run in instance.get_runs()]
    return any(text in line for run_id in run_ids for line in messages(site, run_id))


def messages(site: Site, run_id: str) -> list[str]:
    """The log of a run."""
    with site.instance() as instance:
        return [event.user_message for event in instance.all_logs(run_id)]


def runs(webserver: Webserver, backfill: str) -> list[dict[str, Any]]:
    """The runs of a backfill."""
    found: list[dict[str, Any]] = webserver.ask(RUNS, id=backfill)["runsOrError"][
        "results"
    ]
    return found


def are_over(webserver: Webserver, backfill: str) -> bool:
    """Whether no run of a backfill goes on."""
    over = {"CANCELED", "SUCCESS", "FAILURE"}
    return {run["status"] for run in runs(webserver, backfill)} <= over


def slots(site: Site) -> int:
    """Slots of the pool that are taken."""
    with site.instance() as instance:
        return instance.event_log_storage.get_concurrency_info(POOL).active_slot_count


def loaded(site: Site, days: Sequence[date]) -> list[tuple[str, date]]:
    """Apps and days among these that have rows in the published file."""
    return [(app, day) for app, day in site.loaded() if day in days]
