"""The UI and the daemon as people run them; the browser's part by its GraphQL."""

import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import httpx

from pushloss_pipeline.adapters.sql_files import read_statements
from tests.defs.site import REPOSITORY, Site, wait_until

CHECKS = read_statements("checks")
DAY_ASSETS = ("push_loss_responses", "push_loss")
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
LAUNCH = """mutation ($params: LaunchBackfillParams!) {
  launchPartitionBackfill(backfillParams: $params) {
    ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } } }"""
BACKFILL = """query ($id: String!) {
  partitionBackfillOrError(backfillId: $id) { ... on PartitionBackfill { status
    assetBackfillData { assetBackfillStatuses { ... on AssetPartitionsStatusCounts {
      assetKey { path } numPartitionsMaterialized numPartitionsFailed } } } } }
  runsOrError(filter: {tags: [{key: "dagster/backfill", value: $id}]}) {
    ... on Runs { results { status } } } }"""
CHECKED = """query ($day: String!) {
  assetCheckExecutions(assetKey: {path: ["push_loss"]}, checkName: "key_is_unique",
                       limit: 5, partition: $day) { status } }"""


class Webserver:
    """The UI's server, asked in the UI's own language."""

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}/graphql"

    def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        """The data of an answer without errors."""
        body = {"query": query, "variables": variables}
        answer = httpx.post(self._url, json=body, timeout=60).json()
        assert "errors" not in answer, answer
        data: dict[str, Any] = answer["data"]
        return data

    def is_ready(self) -> bool:
        """Whether it serves, with the definitions loaded."""
        try:
            return bool(self.ask("{ assetNodes { id } }")["assetNodes"])
        except httpx.TransportError:
            return False


@contextmanager
def process(site: Site, *command: str) -> Iterator[None]:
    """A process for the length of a block; its children end with it."""
    with (site.folder / f"{command[0]}.log").open("w") as output:
        started = site.start(
            *command, "-w", str(REPOSITORY / "workspace.yaml"), output=output
        )
        try:
            yield
        finally:
            started.send_signal(signal.SIGINT)
            try:
                started.wait(30)
            except subprocess.TimeoutExpired:
                os.killpg(started.pid, signal.SIGKILL)
                started.wait()


@contextmanager
def webserver_of(site: Site) -> Iterator[Webserver]:
    """The UI's server on a free port, ready to be asked."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with process(site, "dagster-webserver", "--port", str(port)):
        webserver = Webserver(port)
        wait_until(webserver.is_ready, seconds=120)
        yield webserver


def test_a_backfill_of_a_week_is_one_run(site: Site) -> None:
    """All is listed, the schedule is on; seven days become green by a single run."""
    days = [str(day) for day in site.days(7)]
    with ExitStack() as stack:
        webserver = stack.enter_context(webserver_of(site))
        defined = webserver.ask(DEFINED)
        selection = [{"path": [name]} for name in DAY_ASSETS]
        params = {"assetSelection": selection, "partitionNames": days}
        launched = webserver.ask(LAUNCH, params=params)["launchPartitionBackfill"]
        # Started last: the daemon looks when it starts, and then every 30 seconds.
        stack.enter_context(process(site, "dagster-daemon", "run"))
        wait_until(lambda: is_over(webserver, launched["backfillId"]), seconds=180)
        ended = webserver.ask(BACKFILL, id=launched["backfillId"])
        checked = [webserver.ask(CHECKED, day=day) for day in days]

    nodes = {node["assetKey"]["path"][0]: node for node in defined["assetNodes"]}
    (repository,) = defined["repositoriesOrError"]["nodes"]
    assert set(nodes) == {*DAY_ASSETS, "warehouse", "push_loss_report"}
    assert nodes["push_loss"]["partitionKeys"][-7:] == days
    assert len(nodes["push_loss"]["assetChecksOrError"]["checks"]) == len(CHECKS)
    assert sorted(repository["schedules"], key=str) == SCHEDULES
    assert ended["partitionBackfillOrError"]["status"] == "COMPLETED_SUCCESS"
    assert counts_of(ended) == dict.fromkeys(DAY_ASSETS, (7, 0))
    assert ended["runsOrError"]["results"] == [{"status": "SUCCESS"}]
    assert checked == [{"assetCheckExecutions": [{"status": "SUCCEEDED"}]}] * 7
    assert len(site.loaded()) == 14


def counts_of(ended: dict[str, Any]) -> dict[str, tuple[int, int]]:
    """Green and red days of each asset of a backfill."""
    data = ended["partitionBackfillOrError"]["assetBackfillData"]
    return {
        status["assetKey"]["path"][0]: (
            status["numPartitionsMaterialized"],
            status["numPartitionsFailed"],
        )
        for status in data["assetBackfillStatuses"]
    }


def is_over(webserver: Webserver, backfill_id: str) -> bool:
    """Whether a backfill has come to its end, a good one or a bad one."""
    status = webserver.ask(BACKFILL, id=backfill_id)["partitionBackfillOrError"]
    return str(status["status"]).startswith(("COMPLETED", "FAILED"))
