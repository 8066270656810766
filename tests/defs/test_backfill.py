"""Backfills, from the UI to the daemon; the browser's part by its GraphQL."""

from contextlib import ExitStack

from pushloss_pipeline.adapters.sql_files import read_statements
from tests.defs.services import (
    BACKFILL,
    DAY_ASSETS,
    counts_of,
    daemon_of,
    is_over,
    launch_backfill,
    webserver_of,
)
from tests.defs.site import Site, wait_until

CHECKS = read_statements("checks")
SCHEDULE = {
    "name": "daily_push_loss_schedule",
    "scheduleState": {"status": "RUNNING"},
}

DEFINED = """{
  assetNodes { assetKey { path } partitionKeys
    assetChecksOrError { ... on AssetChecks { checks { name } } } }
  repositoriesOrError { ... on RepositoryConnection { nodes {
    schedules { name scheduleState { status } } } } } }"""
CHECKED = """query ($day: String!) {
  assetCheckExecutions(assetKey: {path: ["push_loss"]}, checkName: "key_is_unique",
                       limit: 5, partition: $day) { status } }"""


def test_a_backfill_of_a_week_is_one_run(site: Site) -> None:
    """All is listed, the schedule is on; seven days become green by a single run."""
    days = [str(day) for day in site.days(7)]
    with ExitStack() as stack:
        webserver = stack.enter_context(webserver_of(site))
        defined = webserver.ask(DEFINED)
        backfill = launch_backfill(webserver, site.days(7))
        stack.enter_context(daemon_of(site))
        wait_until(lambda: is_over(webserver, backfill), seconds=180)
        ended = webserver.ask(BACKFILL, id=backfill)
        checked = [webserver.ask(CHECKED, day=day) for day in days]

    nodes = {node["assetKey"]["path"][0]: node for node in defined["assetNodes"]}
    (repository,) = defined["repositoriesOrError"]["nodes"]
    assert set(nodes) == {
        *DAY_ASSETS,
        "warehouse",
        "push_loss_report",
        "push_loss_newest_day",
    }
    assert nodes["push_loss"]["partitionKeys"][-7:] == days
    assert len(nodes["push_loss"]["assetChecksOrError"]["checks"]) == len(CHECKS)
    assert repository["schedules"] == [SCHEDULE]
    assert ended["partitionBackfillOrError"]["status"] == "COMPLETED_SUCCESS"
    assert counts_of(ended) == dict.fromkeys(DAY_ASSETS, (7, 0))
    assert ended["runsOrError"]["results"] == [{"status": "SUCCESS"}]
    assert checked == [{"assetCheckExecutions": [{"status": "SUCCEEDED"}]}] * 7
    assert len(site.loaded()) == 14
