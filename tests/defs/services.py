"""The UI's server and the daemon as people run them, asked in the UI's language."""

import os
import signal
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from typing import Any

import httpx

from tests.defs.site import REPOSITORY, Site, wait_until

DAY_ASSETS = ("push_loss_responses", "push_loss")

LAUNCH = """mutation ($params: LaunchBackfillParams!) {
  launchPartitionBackfill(backfillParams: $params) {
    ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } } }"""
BACKFILL = """query ($id: String!) {
  partitionBackfillOrError(backfillId: $id) { ... on PartitionBackfill { status
    assetBackfillData { assetBackfillStatuses { ... on AssetPartitionsStatusCounts {
      assetKey { path } numPartitionsMaterialized numPartitionsFailed } } } } }
  runsOrError(filter: {tags: [{key: "dagster/backfill", value: $id}]}) {
    ... on Runs { results { status } } } }"""

RUNS = """query ($id: String!) {
  runsOrError(filter: {tags: [{key: "dagster/backfill", value: $id}]}) {
    ... on Runs { results { runId status } } } }"""
TERMINATE = """mutation ($run: String!) {
  terminateRun(runId: $run) { __typename } }"""


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


def launch_backfill(webserver: Webserver, days: Sequence[date]) -> str:
    """Launch a backfill of these days as the UI does; its id."""
    params = {
        "assetSelection": [{"path": [name]} for name in DAY_ASSETS],
        "partitionNames": [str(day) for day in days],
    }
    launched = webserver.ask(LAUNCH, params=params)["launchPartitionBackfill"]
    return str(launched["backfillId"])


@contextmanager
def daemon_of(site: Site) -> Iterator[None]:
    """The daemon; it looks for work when it starts, and then every 30 seconds."""
    with process(site, "dagster-daemon", "run"):
        yield


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
