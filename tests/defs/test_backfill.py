"""Backfills, from the UI to the daemon; the browser's part by its GraphQL."""

from contextlib import ExitStack
from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest
from dagster._core.test_utils import freeze_time

from pushloss_pipeline.adapters.sql_files import read_statements
from tests.defs.services import (
    BACKFILL,
    DAY_ASSETS,
    Webserver,
    counts_of,
    daemon_of,
    is_over,
    launch_backfill,
    webserver_of,
)
from tests.defs.site import Site, wait_until

NEWEST_DAY = "push_loss_newest_day"
CHECKS = read_statements("checks")
SCHEDULES = {"daily_push_loss_schedule", "ask_again_schedule"}

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


def test_a_backfill_of_a_week_is_one_run(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All is listed, the schedule is on; seven days become green by a single run.

    Before it, yesterday is late in the UI; after it, yesterday is in.
    """
    monkeypatch.setenv("FRESHNESS_DAEMON_INTERVAL_SECONDS", "1")
    days = [str(day) for day in site.days(7)]
    long_ago = datetime.now(UTC) - timedelta(days=3)
    with freeze_time(long_ago), site.instance() as instance:
        instance.report_runless_asset_event(dg.AssetMaterialization(NEWEST_DAY))
    with ExitStack() as stack:
        webserver = stack.enter_context(webserver_of(site))
        defined = webserver.ask(DEFINED)
        backfill = launch_backfill(webserver, site.days(7))
        stack.enter_context(daemon_of(site))
        wait_until(lambda: newest_day(webserver) == "DEGRADED", seconds=120)
        wait_until(lambda: is_over(webserver, backfill), seconds=180)
        wait_until(lambda: newest_day(webserver) == "HEALTHY")
        ended = webserver.ask(BACKFILL, id=backfill)
        checked = [webserver.ask(CHECKED, day=day) for day in days]

    nodes = {node["assetKey"]["path"][0]: node for node in defined["assetNodes"]}
    (repository,) = defined["repositoriesOrError"]["nodes"]
    assert set(nodes) == {
        *DAY_ASSETS,
        "warehouse",
        "push_loss_report",
        NEWEST_DAY,
    }
    assert nodes["push_loss"]["partitionKeys"][-7:] == days
    assert len(nodes["push_loss"]["assetChecksOrError"]["checks"]) == len(CHECKS)
    assert {schedule["name"] for schedule in repository["schedules"]} == SCHEDULES
    assert {
        schedule["scheduleState"]["status"] for schedule in repository["schedules"]
    } == {"RUNNING"}
    assert ended["partitionBackfillOrError"]["status"] == "COMPLETED_SUCCESS"
    assert counts_of(ended) == dict.fromkeys(DAY_ASSETS, (7, 0))
    assert ended["runsOrError"]["results"] == [{"status": "SUCCESS"}]
    assert checked == [{"assetCheckExecutions": [{"status": "SUCCEEDED"}]}] * 7
    assert len(site.loaded()) == 14


def newest_day(webserver: Webserver) -> str | None:
    """What the UI shows of the newest day: HEALTHY, or DEGRADED where it is late."""
    nodes = webserver.ask(FRESHNESS)["assetNodes"]
    shown = {n["assetKey"]["path"][0]: n["freshnessStatusInfo"] for n in nodes}
    info = shown[NEWEST_DAY]
    return str(info["freshnessStatus"]) if info else None
