"""A record of an older schema version is upgraded, one of a newer is left alone."""

import shutil
import subprocess
import sys
import tarfile
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

import duckdb
import pytest
from deltalake import DeltaTable

from pushloss_pipeline.adapters import delta as delta_module
from pushloss_pipeline.adapters.delta import VERSION_KEY
from pushloss_pipeline.domain.errors import StoreError
from pushloss_pipeline.domain.tables import (
    LAKE_TABLES,
    PUSH_LOSS_RESPONSES,
    SCHEMA_VERSION,
)
from pushloss_pipeline.domain.verdict import State
from pushloss_pipeline.simulator.scenario import SimulatedApp
from pushloss_pipeline.steps import load_days, publish, replay_days
from tests.world import World, WorldBuilder

RECORD_V1 = Path(__file__).with_name("record_v1.tar.xz")
SHOP = SimulatedApp(
    sdk_app_id=1400000042,
    identifier="administrator",
    secret_key="5ca1ab1e" * 8,
    name="shop",
    daily_messages=1000,
    weekend_factor=1.0,
)
DAYS = [date(2026, 3, 9), date(2026, 3, 10), date(2026, 3, 11)]
HISTORY = "select loss_date, revision, err_code, err_count from push_loss_history"


@pytest.fixture
def old(world_of: WorldBuilder) -> World:
    """A world whose record the package wrote before there were versions."""
    world = world_of([SHOP])
    world.data.mkdir()
    with tarfile.open(RECORD_V1) as archive:
        archive.extractall(world.data, filter="data")
    return world


def table(world: World, name: str) -> DeltaTable:
    """A table as any reader of Delta opens it."""
    return DeltaTable(str(world.data / "lake" / name))


def versions(world: World) -> list[str | None]:
    """The schema versions of both tables."""
    return [
        table(world, declared.name).metadata().configuration.get(VERSION_KEY)
        for declared in LAKE_TABLES
    ]


def rows(world: World, name: str) -> list[dict[str, Any]]:
    """All rows of a table, in a stable order."""
    return sorted(table(world, name).to_pyarrow_table().to_pylist(), key=repr)


def commits(world: World) -> list[int]:
    """The Delta versions of both tables."""
    return [table(world, declared.name).version() for declared in LAKE_TABLES]


def log_files(world: World) -> dict[Path, bytes]:
    """All files of the record but its locks."""
    paths = (world.data / "lake").rglob("*")
    return {p: p.read_bytes() for p in paths if p.is_file() and p.suffix != ".lock"}


def make_newer(world: World) -> None:
    """Let a package of the future have been at the record."""
    for declared in LAKE_TABLES:
        table(world, declared.name).alter.set_table_properties(
            {VERSION_KEY: "3"}, raise_if_not_exists=False
        )


def test_an_old_record_is_read_as_it_is(old: World) -> None:
    """Reading upgrades nothing; what the old package did not know is NULL."""
    before = log_files(old)
    answers = old.answers("shop", DAYS[0])

    assert [None, None] == versions(old)
    assert 2 == len(answers)
    assert before == log_files(old)


def test_a_load_upgrades_an_old_record(old: World) -> None:
    """The load works, old rows stand, and new answers tell who recorded them."""
    responses = rows(old, PUSH_LOSS_RESPONSES.name)
    publish(old.parts)
    before = old.everything(without=["push_loss_days"])
    assert [
        (DAYS[0], 1, "1", 5),
        (DAYS[0], 1, "2", 6),
        (DAYS[0], 2, "1", 7),
        (DAYS[1], 1, "1", 3),
    ] == sorted(old.rows(f"{HISTORY} where scope = 'overall'"))

    (outcome,) = old.load(["shop"], [DAYS[2]])

    assert State.LOADED is outcome.state
    assert ["2", "2"] == versions(old)
    told = rows(old, PUSH_LOSS_RESPONSES.name)
    assert [{**row, "package_version": None} for row in responses] == [
        row for row in told if row["package_version"] is None
    ]
    assert [version("pushloss-pipeline")] == [
        r["package_version"] for r in told if r["package_version"]
    ]
    assert set(before["push_loss_history"]) <= set(
        old.everything()["push_loss_history"]
    )
    protocol = table(old, PUSH_LOSS_RESPONSES.name).protocol()
    assert (1, 2) == (protocol.min_reader_version, protocol.min_writer_version)


def test_a_replay_of_an_upgraded_record(old: World) -> None:
    """Replaying an upgraded record gives the same tables bit for bit."""
    publish(old.parts)
    before = old.everything()

    outcomes = replay_days(old.parts, ["shop"], DAYS)
    shutil.rmtree(old.data / "lake" / "push_loss_revisions")
    replay_days(old.parts, ["shop"], DAYS)
    publish(old.parts)

    assert not any(outcome.is_new_revision for outcome in outcomes)
    assert before == old.everything()
    assert ["2", "2"] == versions(old)


def test_an_upgrade_is_done_once(old: World) -> None:
    """The second writer finds nothing left to upgrade; old snapshots stay readable."""
    snapshot = table(old, PUSH_LOSS_RESPONSES.name)
    with old.parts.lake.writing():
        pass
    done = commits(old)
    with old.parts.lake.writing():
        pass

    assert done == commits(old)
    assert 6 == snapshot.to_pyarrow_table().num_rows


def test_a_killed_upgrade_is_finished(
    old: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed after its columns came and before its version, it is done once more."""
    ((number, step),) = delta_module.UPGRADES

    def killed(*arguments: Any) -> None:
        step(*arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(delta_module, "UPGRADES", ((number, killed),))
    with pytest.raises(KeyboardInterrupt), old.parts.lake.writing():
        pass
    columns = table(old, PUSH_LOSS_RESPONSES.name).schema().to_arrow().names
    assert "package_version" == columns[-1]
    assert [None, None] == versions(old)
    monkeypatch.undo()

    with old.parts.lake.writing():
        pass

    assert ["2", "2"] == versions(old)
    assert 6 == len(rows(old, PUSH_LOSS_RESPONSES.name))


def test_two_upgrades_at_once(old: World) -> None:
    """Two writers that upgrade without taking turns both succeed."""
    tables = [declared for _ in range(2) for declared in old.parts.lake.tables]
    opened = [one._open() for one in tables]
    for one, delta in zip(tables, opened, strict=True):
        one._upgrade(delta)

    assert ["2", "2"] == versions(old)


def test_a_newer_record_is_left_alone(old: World) -> None:
    """Nothing is asked, nothing is written; reading goes on."""
    make_newer(old)
    old.data.joinpath("record.lock").touch()
    before = log_files(old)

    for write in (
        lambda: load_days(old.parts, ["shop"], [DAYS[2]]),
        lambda: replay_days(old.parts, ["shop"], DAYS),
        lambda: publish(old.parts),
        lambda: old.parts.lake.tidy_thoroughly(),
    ):
        with pytest.raises(
            StoreError,
            match=r"schema version 3, this package knows 2; update pushloss_pipeline;"
            " nothing was written",
        ):
            write()

    assert [] == old.new_calls()
    assert before == log_files(old)
    assert 2 == len(old.answers("shop", DAYS[0]))


def test_a_newer_published_file_is_left_alone(old: World) -> None:
    """An older package does not replace the file of a newer one."""
    publish(old.parts)
    path = old.data / "warehouse.duckdb"
    path.chmod(0o600)
    with duckdb.connect(path) as connection:
        connection.execute("update internal.publication set schema_version = 3")
    before = path.read_bytes()

    with pytest.raises(StoreError, match=r"duckdb is of schema version 3"):
        publish(old.parts)

    assert before == path.read_bytes()


def test_the_published_file_carries_the_version(old: World) -> None:
    """The file tells its schema version; one without is of version 1."""
    assert old.parts.warehouse.schema_version() is None
    publish(old.parts)
    assert SCHEMA_VERSION == old.parts.warehouse.schema_version()
    path = old.data / "warehouse.duckdb"
    path.chmod(0o600)
    with duckdb.connect(path) as connection:
        connection.execute("alter table internal.publication drop schema_version")

    assert 1 == old.parts.warehouse.schema_version()


def test_two_processes_upgrade_at_once(old: World) -> None:
    """Whoever comes first upgrades; both write what they have to write."""
    script = (
        "import sys; from pathlib import Path\n"
        "from pushloss_pipeline.parts import open_parts\n"
        "from pushloss_pipeline.settings import read_settings\n"
        "from datetime import UTC, datetime\n"
        "from tests.builders import an_answer\n"
        "lake = open_parts(read_settings(Path(sys.argv[1]))).lake\n"
        "with lake.writing():\n"
        "    lake.append_answers([an_answer(1)], now=datetime.now(UTC))\n"
    )
    command = [sys.executable, "-c", script, str(old.folder / "pushloss.toml")]
    processes = [subprocess.Popen(command) for _ in range(2)]

    assert [0, 0] == [process.wait(timeout=60) for process in processes]
    assert ["2", "2"] == versions(old)
    assert 8 == len(rows(old, PUSH_LOSS_RESPONSES.name))


def test_compaction_of_old_and_new_files(old: World) -> None:
    """Files of both versions become one; what the old ones lacked stays NULL."""
    old.load(["shop"], [DAYS[2]])
    before = rows(old, PUSH_LOSS_RESPONSES.name)

    old.parts.lake.tidy_thoroughly()

    assert 1 == len(table(old, PUSH_LOSS_RESPONSES.name).file_uris())
    assert before == rows(old, PUSH_LOSS_RESPONSES.name)
