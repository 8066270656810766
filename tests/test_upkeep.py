"""Each fault is planted for real, told by its name, and mended."""

import os
import resource
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable

from pushloss_pipeline.adapters.delta import VERSION_KEY
from pushloss_pipeline.domain.errors import StoreError
from pushloss_pipeline.domain.tables import LAKE_TABLES
from pushloss_pipeline.steps import Parts, accept_day, load_days, publish, replay_days
from pushloss_pipeline.upkeep import Finding, examine, tidy
from tests.builders import a_body
from tests.world import THREE_APPS, World, a_world, secret_variable

FIRST, SECOND, THIRD = (app.name for app in THREE_APPS)
RESPONSES, REVISIONS = (table.name for table in LAKE_TABLES)
DAY = date(2026, 3, 11)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Three days of two apps; one with revisions, held and accepted."""
    with (
        pytest.MonkeyPatch.context() as patch,
        a_world(tmp_path_factory.mktemp("world")) as world,
    ):
        for app in THREE_APPS:
            patch.setenv(secret_variable(app), app.secret_key)
        world.load([FIRST, SECOND], [DAY - timedelta(days=age) for age in (2, 1, 0)])
        number = world.number_of(FIRST)
        for counts in ({"1": 5, "2": 6}, {"1": 7}, {}):
            body = a_body(counts).decode()
            world.simulator.script(
                [{"sdk_app_id": number, "day": str(DAY), "body": body}]
            )
            world.load([FIRST], [DAY])
        accept_day(world.parts, FIRST, DAY)
        publish(world.parts)
        yield world.data


@pytest.fixture
def loaded(world: World, data: Path) -> World:
    """A world in which all that was done once, and nothing is broken yet."""
    shutil.copytree(data, world.data)
    publish(world.parts)  # by this simulator's address
    return world


def examined(world: World, *, repair: bool = True) -> list[Finding]:
    """What an examination tells of everything that is not well."""
    findings = list(examine(world.parts, repair=repair))
    assert 10 == len(findings)
    return [finding for finding in findings if finding.wrong]


def log(world: World, name: str) -> list[Path]:
    """The entries of a table's log, oldest first."""
    return sorted((world.data / "lake" / name / "_delta_log").glob("*.json"))


def files(world: World, name: str, kind: str = "") -> list[Path]:
    """The data files of a table, of one kind of rows or of all."""
    table = DeltaTable(str(world.data / "lake" / name))
    return sorted(
        Path(f.removeprefix("file://")) for f in table.file_uris() if kind in f
    )


def rows(world: World, name: str) -> list[str]:
    """All rows of a table, in a stable order."""
    table = DeltaTable(str(world.data / "lake" / name))
    return sorted(map(repr, table.to_pyarrow_table().to_pylist()))


def test_all_is_well(loaded: World) -> None:
    """A sound record and file are left as they are, to the byte."""
    before = {p: p.read_bytes() for p in loaded.data.rglob("*") if p.is_file()}

    assert [] == examined(loaded, repair=False)
    assert [] == examined(loaded)
    assert before == {p: p.read_bytes() for p in loaded.data.rglob("*") if p.is_file()}


def test_nothing_is_there_yet(world: World) -> None:
    """Before the first load there is nothing to look at, and all is well."""
    assert [] == examined(world)


def tear_newest(world: World, name: str) -> None:
    """As a power cut leaves it."""
    newest = log(world, name)[-1]
    newest.write_bytes(newest.read_bytes()[:100])


def empty_newest(world: World, name: str) -> None:
    """The same, on another file system."""
    log(world, name)[-1].write_bytes(b"")


def empty_middle(world: World, name: str) -> None:
    """An empty commit that others have followed."""
    log(world, name)[2].write_bytes(b"")


def tear_middle(world: World, name: str) -> None:
    """A torn commit that others have followed."""
    middle = log(world, name)[2]
    middle.write_bytes(middle.read_bytes()[:100])


def delete_middle(world: World, name: str) -> None:
    """A commit that somebody deleted."""
    log(world, name)[2].unlink()


def tear_checkpoint(world: World, name: str) -> None:
    """A checkpoint of which the end is missing."""
    folder = world.data / "lake" / name
    DeltaTable(str(folder)).create_checkpoint()
    (checkpoint,) = (folder / "_delta_log").glob("*.checkpoint.parquet")
    checkpoint.write_bytes(checkpoint.read_bytes()[:100])


def empty_checkpoint(world: World, name: str) -> None:
    """A checkpoint, and the pointer to it, without a byte."""
    tear_checkpoint(world, name)
    folder = world.data / "lake" / name / "_delta_log"
    next(folder.glob("*.checkpoint.parquet")).write_bytes(b"")
    (folder / "_last_checkpoint").write_bytes(b"")


def delete_checkpoint(world: World, name: str) -> None:
    """A pointer to a checkpoint that is not there."""
    tear_checkpoint(world, name)
    folder = world.data / "lake" / name / "_delta_log"
    next(folder.glob("*.checkpoint.parquet")).unlink()


LOG_FAULTS: list[Callable[[World, str], None]] = [
    tear_newest,
    empty_newest,
    empty_middle,
    tear_middle,
    delete_middle,
    tear_checkpoint,
    empty_checkpoint,
    delete_checkpoint,
]


@pytest.mark.parametrize("breaking", LOG_FAULTS, ids=lambda f: f.__name__)
def test_the_log_of_the_revisions(
    loaded: World, breaking: Callable[[World, str], None]
) -> None:
    """Whatever is broken in the log is told; what it lost is derived anew."""
    published = loaded.everything()
    breaking(loaded, REVISIONS)

    told = examined(loaded)

    assert f"log of {REVISIONS}" == told[0].looked_at
    assert all(finding.is_mended for finding in told)
    assert published == loaded.everything()
    assert [] == examined(loaded)


@pytest.mark.parametrize("breaking", LOG_FAULTS, ids=lambda f: f.__name__)
def test_the_log_of_the_answers(
    loaded: World, breaking: Callable[[World, str], None]
) -> None:
    """The table can be read and written again; what stood in push_loss still does."""
    published = loaded.everything()
    breaking(loaded, RESPONSES)

    told = examined(loaded)

    assert f"log of {RESPONSES}" == told[0].looked_at
    assert told[0].is_mended
    assert published == loaded.everything()
    loaded.load()
    assert loaded.truth() == loaded.loaded()
    assert [] == examined(loaded)


@pytest.mark.parametrize("kept", [1, 2])
def test_a_log_entry_that_ends_between_two_files(loaded: World, kept: int) -> None:
    """Though all that is left can be read, it is told as torn and derived anew."""
    loaded.later(minutes=30)
    loaded.load([FIRST, SECOND], [DAY])
    published = loaded.everything()
    newest = log(loaded, REVISIONS)[-1]
    lines = newest.read_text().splitlines()
    newest.write_text("\n".join(lines[:kept]))

    told = examined(loaded)

    assert 4 == len(lines)
    assert f"log of {REVISIONS}" == told[0].looked_at
    assert all(finding.is_mended for finding in told), told
    assert published == loaded.everything()
    assert [] == examined(loaded)


def test_a_record_that_is_gone(loaded: World) -> None:
    """Where days would be taken from the readers, the doctor says so to its end."""
    published = loaded.everything()
    shutil.rmtree(loaded.data / "lake")
    with pytest.raises(StoreError, match="is gone or not all there"):
        loaded.load([FIRST], [DAY])

    told = examined(loaded)

    wrong = [finding for finding in told if not finding.is_mended]
    assert [True] == ["is gone or not all there" in each.wrong[0] for each in wrong]
    assert published == loaded.everything()


def test_only_looking_changes_nothing(loaded: World) -> None:
    """Without repair a fault is told, and stays for the one who may mend it."""
    empty_middle(loaded, REVISIONS)
    files(loaded, REVISIONS, "row_kind=loss")[0].unlink()
    before = {p: p.read_bytes() for p in loaded.data.rglob("*") if p.is_file()}

    told = examined(loaded, repair=False)

    assert not any(finding.is_mended for finding in told)
    assert not any(finding.done for finding in told)
    assert before == {p: p.read_bytes() for p in loaded.data.rglob("*") if p.is_file()}


@pytest.mark.parametrize("repair", [False, True])
def test_a_file_that_the_system_could_not_read(loaded: World, repair: bool) -> None:
    """Nothing is taken out of a table because the process had no handle left."""
    before = {p: p.read_bytes() for p in loaded.data.rglob("*") if p.is_file()}
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)

    def run_out_of_handles(what: str, done: int, total: int) -> None:
        if what == f"files of {RESPONSES}" and done == 1:
            free = os.open(os.devnull, os.O_RDONLY)
            os.close(free)
            resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
        else:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    try:
        findings = list(
            examine(loaded.parts, repair=repair, on_progress=run_out_of_handles)
        )
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    wrong = [text for finding in findings for text in finding.wrong]
    assert repair == all(finding.is_mended for finding in findings)
    assert ([] if repair else [True]) == ["Too many open files" in w for w in wrong]
    assert before == {p: p.read_bytes() for p in loaded.data.rglob("*") if p.is_file()}


def flip(path: Path) -> None:
    """Turn some bytes of the first column around."""
    content = bytearray(path.read_bytes())
    for position in range(4, 44):
        content[position] ^= 0xFF
    path.write_bytes(bytes(content))


FILE_FAULTS: list[Callable[[Path], Any]] = [
    Path.unlink,
    flip,
    lambda path: path.write_bytes(path.read_bytes()[:-20]),
    lambda path: path.write_bytes(b""),
]


@pytest.mark.parametrize("kind", ["loss", "marker", "state"])
@pytest.mark.parametrize(
    "breaking", FILE_FAULTS, ids=["gone", "flipped", "cut", "empty"]
)
def test_files_of_the_revisions(
    loaded: World, kind: str, breaking: Callable[[Path], Any]
) -> None:
    """A file that is lost costs nothing: the same revisions stand again."""
    published = loaded.everything()
    for path in files(loaded, REVISIONS, f"row_kind={kind}"):
        breaking(path)

    told = examined(loaded)

    assert all(finding.is_mended for finding in told), told
    assert f"files of {REVISIONS}" == told[0].looked_at
    assert published == loaded.everything()
    assert [] == examined(loaded)


@pytest.mark.parametrize("position", range(4))
def test_one_file_of_the_markers(loaded: World, position: int) -> None:
    """A revision that is lost among others comes back in its own place."""
    published = loaded.everything()
    files(loaded, REVISIONS, "row_kind=marker")[position].unlink()

    told = examined(loaded)

    assert all(finding.is_mended for finding in told), told
    assert published == loaded.everything()
    assert [] == examined(loaded)


def test_the_whole_table_of_revisions(loaded: World) -> None:
    """Without any revision all are derived from the answers."""
    published = loaded.everything()
    shutil.rmtree(loaded.data / "lake" / REVISIONS)

    told = examined(loaded)

    assert all(finding.is_mended for finding in told), told
    assert published == loaded.everything()
    assert [] == examined(loaded)


def test_rows_that_are_other_than_their_marker(loaded: World) -> None:
    """Rows that can be read but are not those that were written are restated."""
    published = loaded.everything()
    for path in files(loaded, REVISIONS, "row_kind=loss"):
        table = pq.read_table(path, partitioning=None)
        counts = table.column_names.index("err_count")
        other = (
            pq.ParquetFile(path)
            .read()
            .set_column(
                counts,
                table.schema.field(counts),
                [[count + 1 for count in table["err_count"].to_pylist()]],
            )
        )
        size = path.stat().st_size
        pq.write_table(other, path)
        entry = next(e for e in log(loaded, REVISIONS) if path.name in e.read_text())
        told_size = entry.read_text().replace(
            f'"size":{size}', f'"size":{path.stat().st_size}'
        )
        entry.write_text(told_size)

    (told,) = [f for f in examined(loaded) if f.looked_at.startswith("days")]

    assert told.is_mended
    assert any("restated" in text for text in told.done)
    assert published == loaded.everything()
    assert [] == examined(loaded)


@pytest.mark.parametrize(
    "breaking", FILE_FAULTS, ids=["gone", "flipped", "cut", "empty"]
)
def test_files_of_the_answers(loaded: World, breaking: Callable[[Path], Any]) -> None:
    """Lost answers cannot be had again: it is told which days to ask for anew."""
    published = loaded.everything()
    (path,) = [
        p
        for p in files(loaded, RESPONSES)
        if SECOND in str(pq.read_table(p)["app"].to_pylist())
    ][:1]
    breaking(path)

    told = examined(loaded)

    assert [f"files of {RESPONSES}", "days against their answers"] == [
        finding.looked_at for finding in told
    ]
    assert not told[0].is_mended
    assert not told[1].is_mended
    assert any(text.startswith("pushloss load 2026-03-") for text in told[1].advice)
    assert published == loaded.everything()
    loaded.load()
    assert loaded.truth() == loaded.loaded()
    assert [] == examined(loaded)


def test_lost_answers_that_nobody_can_ask_for(loaded: World) -> None:
    """What the API has forgotten is told, and is no fault that anybody can mend."""
    published = loaded.everything(without=["push_loss_days"])
    shutil.rmtree(loaded.data / "lake" / RESPONSES)
    loaded.later(days=30)

    told = [f for f in examine(loaded.parts, repair=True) if "days" in f.looked_at]

    assert "6 whose answers are lost" in told[0].told
    assert told[0].is_mended
    assert published == loaded.everything(without=["push_loss_days"])


def finding_on(looked_at: str, parts: Parts, *, repair: bool) -> Finding:
    """What an examination tells of one thing."""
    found = examine(parts, repair=repair)
    return next(finding for finding in found if finding.looked_at == looked_at)


@pytest.mark.parametrize("repair", [False, True])
def test_answers_that_were_only_stored(loaded: World, repair: bool) -> None:
    """Who stores answers without judging them is told how to, and nothing is done."""
    published = loaded.everything()
    days = [DAY - timedelta(days=1), DAY]
    loaded.simulator.script(
        [{"sdk_app_id": loaded.number_of(SECOND), "body": a_body({"1": 9}).decode()}]
    )
    load_days(loaded.parts, [SECOND], [DAY], build=False)
    load_days(loaded.parts, [THIRD], days, build=False)
    looked_at = "days against their answers"

    told = finding_on(looked_at, loaded.parts, repair=repair)

    advice = f"pushloss replay {days[0]} {DAY} judges them"
    in_words = f"8 app days; 3 answers stored and not judged yet: {advice}"
    assert Finding(looked_at, in_words) == told
    assert [] == examined(loaded, repair=repair)
    assert published == loaded.everything()
    replay_days(loaded.parts, [SECOND, THIRD], days)
    told = finding_on(looked_at, loaded.parts, repair=repair)
    assert Finding(looked_at, "8 app days") == told


PUBLISHED = "published file against the record"


def test_only_looking_beside_a_load(loaded: World) -> None:
    """What a load has not published yet is no fault, unless it ended long ago."""
    load_days(loaded.parts, [THIRD], [DAY])

    told = finding_on(PUBLISHED, loaded.parts, repair=False)
    loaded.later(hours=2)
    later = finding_on(PUBLISHED, loaded.parts, repair=False)

    assert Finding(PUBLISHED, "not compared: a load is running") == told
    assert later.wrong and not later.is_mended


def parts_beside_a_load(world: World, days: Sequence[date]) -> Parts:
    """Parts with a load beside: it writes one more day after each publishing."""
    path, left = world.data / "warehouse.duckdb", list(days)
    known = path.stat().st_ino

    def clock() -> datetime:
        nonlocal known
        if known != path.stat().st_ino and left:
            known = path.stat().st_ino
            load_days(world.parts, [THIRD], [left.pop()])
        return world.parts.clock()

    return replace(world.parts, clock=clock)


@pytest.mark.parametrize(
    ("count", "told", "done"),
    [
        (1, "", ("brought up to date, and compared again",)),
        (5, "not compared: a load is running", ()),
    ],
)
def test_mending_beside_a_load(
    loaded: World, count: int, told: str, done: tuple[str, ...]
) -> None:
    """What is written after publishing is no difference: nothing is built anew."""
    load_days(loaded.parts, [THIRD], [DAY])
    work = loaded.data / "work.duckdb"
    made = work.stat().st_ino
    days = [DAY - timedelta(days=age) for age in range(1, count + 1)]

    found = finding_on(PUBLISHED, parts_beside_a_load(loaded, days), repair=True)

    assert (told, done, True) == (found.told, found.done, found.is_mended)
    assert made == work.stat().st_ino
    publish(loaded.parts)
    assert [] == examined(loaded)


EDITS = {
    "another count": "update push_loss set err_count = err_count + 1",
    "a row less": "delete from push_loss_history where revision = 1",
    "another state": "update push_loss_days set state = 'failed'",
    "a row more": "insert into push_loss from push_loss limit 1",
    "no table": "drop table push_loss cascade",
    "no view": "drop view push_loss_by_day",
}


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS.keys())
def test_an_edited_file(loaded: World, edit: str) -> None:
    """A published file that somebody has written to is built anew."""
    published = loaded.everything()
    path = loaded.data / "warehouse.duckdb"
    path.chmod(0o600)
    with duckdb.connect(path) as connection:
        connection.execute(edit)

    (told,) = examined(loaded)

    assert "published file against the record" == told.looked_at
    assert told.is_mended and ("built anew, compared again",) == told.done
    assert published == loaded.everything()
    assert [] == examined(loaded)


@pytest.mark.parametrize(
    "breaking", FILE_FAULTS, ids=["gone", "flipped", "cut", "empty"]
)
def test_a_broken_file(loaded: World, breaking: Callable[[Path], Any]) -> None:
    """A published file that is damaged or gone is made anew."""
    published = loaded.everything()
    path = loaded.data / "warehouse.duckdb"
    path.chmod(0o600)
    if breaking is flip:
        path.write_bytes(b"\xff" * path.stat().st_size)
    else:
        breaking(path)

    (told,) = examined(loaded)

    assert told.is_mended
    assert published == loaded.everything()


def test_leftovers(loaded: World) -> None:
    """What killed processes left is removed, but no page that is being written."""
    report = loaded.data / "report"
    report.mkdir()
    left = [
        loaded.data / "warehouse.duckdb.tmp",
        loaded.data / "warehouse.duckdb.wal",
        report / ".index.html.0123",
    ]
    for path in [*left, report / ".index.html.4567"]:
        path.write_text("x")
    os.utime(left[2], (0, 0))
    moment = loaded.now.timestamp()
    os.utime(report / ".index.html.4567", (moment, moment))

    (told,) = examined(loaded)

    assert "leftovers" == told.looked_at and told.is_mended
    assert not any(path.exists() for path in left)
    assert (report / ".index.html.4567").exists()


def test_another_zone(loaded: World) -> None:
    """A zone that cuts days otherwise is told, and nothing is published by it."""
    loaded.reconfigure("start_date", 'timezone = "Europe/Berlin"\nstart_date')

    (told,) = examined(loaded)

    assert "time zone" == told.looked_at and not told.is_mended
    assert "set timezone back" in told.wrong[0]


def test_a_newer_record(loaded: World) -> None:
    """What a newer package has made is looked at and never mended."""
    DeltaTable(str(loaded.data / "lake" / REVISIONS)).alter.set_table_properties(
        {VERSION_KEY: "3"}, raise_if_not_exists=False
    )
    (loaded.data / "warehouse.duckdb.tmp").write_text("x")

    told = examined(loaded)

    assert ["schema version", "leftovers"] == [finding.looked_at for finding in told]
    assert not any(finding.is_mended for finding in told)


@pytest.mark.parametrize("breaking", LOG_FAULTS[1:], ids=lambda f: f.__name__)
def test_the_log_of_a_newer_record(
    loaded: World, breaking: Callable[[World, str], None]
) -> None:
    """Neither is a log mended that a newer package may have written."""
    DeltaTable(str(loaded.data / "lake" / REVISIONS)).alter.set_table_properties(
        {VERSION_KEY: "3"}, raise_if_not_exists=False
    )
    breaking(loaded, RESPONSES)
    folder = log(loaded, RESPONSES)[0].parent
    before = {path: path.read_bytes() for path in folder.iterdir() if path.suffix}

    told = examined(loaded)

    assert [f"log of {RESPONSES}", "schema version"] == [f.looked_at for f in told[:2]]
    assert not any(finding.done for finding in told)
    after = {path: path.read_bytes() for path in before if path.exists()}
    assert before == after


def test_thorough_tidying(loaded: World) -> None:
    """Small files become one per partition; all rows stay, and old snapshots too."""
    before = [rows(loaded, name) for name in (RESPONSES, REVISIONS)]
    published = loaded.everything()
    held = DeltaTable(str(loaded.data / "lake" / REVISIONS))

    tidied = tidy(loaded.parts)

    assert (3, 4) == (tidied.merged_partitions, tidied.files_after)
    assert before == [rows(loaded, name) for name in (RESPONSES, REVISIONS)]
    assert before[1] == sorted(map(repr, held.to_pyarrow_table().to_pylist()))
    assert 0 == tidy(loaded.parts).merged_partitions
    publish(loaded.parts)
    assert published == loaded.everything()
    assert [] == examined(loaded)


def test_logs_do_not_grow_without_bound(loaded: World) -> None:
    """What an older tidying has summed up is gone from the logs after a week."""
    before = [rows(loaded, name) for name in (RESPONSES, REVISIONS)]
    for _ in range(2):
        for name in (RESPONSES, REVISIONS):
            for path in log(loaded, name)[0].parent.iterdir():
                os.utime(path, (0, 0))
        tidy(loaded.parts)

    for name in (RESPONSES, REVISIONS):
        assert len(log(loaded, name)) < 5
    assert before == [rows(loaded, name) for name in (RESPONSES, REVISIONS)]
    assert [] == examined(loaded)
