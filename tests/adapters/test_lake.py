"""The record keeps what it is given, whoever writes and whatever happens."""

import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import fields, replace
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
from deltalake import DeltaTable
from filelock import FileLock

from pushloss_pipeline.adapters import delta as delta_module
from pushloss_pipeline.adapters import delta_log as log_module
from pushloss_pipeline.adapters import lake as lake_module
from pushloss_pipeline.adapters.delta import _commit
from pushloss_pipeline.adapters.delta_log import DeltaLog
from pushloss_pipeline.adapters.lake import Lake, _entries_table
from pushloss_pipeline.domain.errors import StoreError
from pushloss_pipeline.domain.model import (
    Answer,
    AppDay,
    LossRow,
    Outcome,
    Scope,
    Stage,
)
from pushloss_pipeline.domain.tables import LAKE_TABLES, PUSH_LOSS_REVISIONS, Table
from pushloss_pipeline.domain.verdict import Standing, State, judge_all
from tests.builders import (
    CHAT_ID,
    DAY,
    NOTHING,
    SHOP_ID,
    START,
    A,
    B,
    a_body,
    a_refusal,
    an_answer,
    folded,
)

SHOP_DAY = AppDay(SHOP_ID, DAY)
HUGE = 9_223_372_036_854_775_807
AWKWARD = (
    'it\'s "quoted", 用户关闭了通知, \U0001f4f1\n\ttab \\ %20 {}'
    "\r\v\f\x1c\x1e\x1b[2J\x85\u2028\u2029\u202e\0"
)

WRITER = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from pushloss_pipeline.adapters.lake import Lake
from tests.builders import an_answer, folded

folder, first, count = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
lake = Lake(str(folder / "lake"), lock_path=folder / "record.lock")
for number in range(first, first + count):
    with lake.writing():
        answers = [an_answer(number * 10 + n, attempt=n + 1) for n in range(3)]
        recorded = lake.append_answers(answers, now=datetime.now(UTC))
        lake.append_entries(folded(*recorded))
"""


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """A record that is not there yet."""
    return a_lake(tmp_path)


def a_lake(folder: Path) -> Lake:
    """The record of a folder."""
    return Lake(str(folder / "lake"), lock_path=folder / "record.lock")


def append(lake: Lake, *answers: Answer, now: datetime = START) -> tuple[Answer, ...]:
    """Append answers of a walk."""
    with lake.writing():
        return lake.append_answers(answers, now=now)


def load(lake: Lake, *answers: Answer, now: datetime = START) -> None:
    """Append answers and what they do to their days."""
    recorded = append(lake, *answers, now=now)
    days = {answer.app_day for answer in recorded}
    with lake.writing():
        unjudged = lake.unjudged(lake.standings(days), recorded)
        known = lake.standings(days)
        for day in days:
            lake.append_entries(judge_all(known[day], unjudged[day]))


def delta(folder: Path, name: str) -> DeltaTable:
    """A table as any reader of Delta opens it."""
    return DeltaTable(str(folder / "lake" / name))


def run(script: str, *arguments: object) -> subprocess.Popen[bytes]:
    """Start a script in a process of its own."""
    return subprocess.Popen([sys.executable, "-c", script, *map(str, arguments)])


ANSWERS = {
    "rows": an_answer(1, A),
    "no text": an_answer(1, a_refusal(60008, "")),
    "Chinese and quotes": an_answer(1, A, error_info=AWKWARD),
    "bytes that are no text": an_answer(1, bytes(range(256)) * 100),
    "no bytes": an_answer(1, b""),
    "nothing": an_answer(
        1, None, http_status=None, outcome=Outcome.NO_ANSWER, error_code=None
    ),
    "huge code": an_answer(1, A, error_code=HUGE),
    "negative code": an_answer(1, A, error_code=-HUGE),
    "microseconds": an_answer(1, fetched_at=START + timedelta(microseconds=123_457)),
    "long ago": an_answer(1, loss_date=date(2020, 2, 29)),
}


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS.keys())
def test_answer_round_trip(lake: Lake, answer: Answer) -> None:
    """An answer comes back as it was received, every column of it."""
    (recorded,) = append(lake, answer)

    assert {answer.app_day: [recorded]} == lake.answers([answer.app_day])
    assert replace(answer, recorded_at=START) == recorded


def an_entry(**changed: object) -> Standing:
    """A revision with one row of each kind."""
    (entry,) = folded(an_answer(1))
    rows = (
        LossRow(Stage.READY_TO_SEND, Scope.OVERALL, None, None, "-1", None, HUGE),
        LossRow(Stage.POST_SEND_DELIVERED, Scope.PLATFORM, 9, "platform_9", "", "", 0),
        LossRow(Stage.POST_SEND_DELIVERED, Scope.OVERALL, None, None, "'", AWKWARD, 1),
    )
    return replace(entry, **{"rows": rows, **changed})


ENTRIES = {
    "revision": an_entry(),
    "huge counts": an_entry(overall_count=HUGE, row_count=2**31 - 1),
    "warnings": an_entry(warnings=("kind: text", AWKWARD), envelope="$.['a b']"),
    "state": an_entry(
        state=State.REFUSED,
        is_revision=False,
        rows=(),
        error_code=-HUGE,
        error_info=AWKWARD,
        envelope=None,
    ),
    "never loaded": an_entry(
        state=State.EXPIRED, revision=0, content_hash="", is_revision=False, rows=()
    ),
}


@pytest.mark.parametrize("entry", ENTRIES.values(), ids=ENTRIES.keys())
def test_entry_round_trip(lake: Lake, entry: Standing) -> None:
    """An entry comes back as it was judged, without its rows."""
    lake.append_entries([entry])

    assert {SHOP_DAY: [replace(entry, rows=())]} == lake.entries([SHOP_DAY])


def test_rows_round_trip(lake: Lake, tmp_path: Path) -> None:
    """A revision's rows stand in the table as they were read, and its marker too."""
    entry = an_entry()
    lake.append_entries([entry])
    table = delta(tmp_path, "push_loss_revisions").to_pyarrow_table()
    losses = [row for row in table.to_pylist() if row["row_kind"] == "loss"]
    columns = [column.name for column in fields(LossRow)]

    assert list(entry.rows) == [
        LossRow(**{**row, "stage": Stage(row["stage"]), "scope": Scope(row["scope"])})
        for row in ({name: loss[name] for name in columns} for loss in losses)
    ]
    assert ["loss", "loss", "loss", "marker"] == sorted(table["row_kind"].to_pylist())
    assert 1 == len(set(table["entry_key"].to_pylist()))


def test_nothing_to_append(lake: Lake, tmp_path: Path) -> None:
    """Nothing to append is no commit."""
    assert () == append(lake)
    lake.append_entries([])

    assert not (tmp_path / "lake").exists()


def test_only_the_days_that_were_asked_for(lake: Lake) -> None:
    """Days are told apart by app and by date, also within one month."""
    other_day = AppDay(SHOP_ID, DAY - timedelta(days=1))
    other_app = AppDay(CHAT_ID, DAY)
    append(
        lake,
        an_answer(1),
        an_answer(2, loss_date=other_day.loss_date),
        an_answer(3, sdk_app_id=CHAT_ID),
    )

    found = lake.answers([other_day, other_app])

    assert {other_day, other_app} == found.keys()
    assert {} == lake.answers([AppDay(CHAT_ID, other_day.loss_date)])
    assert {} == lake.answers([])


def test_recorded_at_rises(lake: Lake) -> None:
    """Recorded times rise strictly, also where the clock is set back."""
    moments = [START, START - timedelta(days=400), START, START + timedelta(days=1)]
    for number, moment in enumerate(moments):
        answers = [an_answer(number * 9 + n) for n in range(3)]
        append(lake, *answers, now=moment)

    recorded = [answer.recorded_at for answer in lake.answers([SHOP_DAY])[SHOP_DAY]]

    assert 12 == len(recorded)
    assert all(before < after for before, after in pairwise(recorded))
    assert START + timedelta(days=1) == recorded[9]


def test_recorded_at_within_a_millisecond(lake: Lake) -> None:
    """The order holds within a millisecond, which is all that statistics see."""
    moment = START + timedelta(microseconds=999)
    for number in range(4):
        append(lake, an_answer(number), now=moment)

    assert list(range(4)) == [
        int(answer.response_id, 16) for answer in lake.answers([SHOP_DAY])[SHOP_DAY]
    ]


def test_unjudged(lake: Lake) -> None:
    """Answers that a killed walk left behind are judged before those just recorded."""
    load(lake, an_answer(1, A))
    left = append(lake, an_answer(2, B), an_answer(9, B, sdk_app_id=CHAT_ID))
    new = append(lake, an_answer(3, A))

    unjudged = lake.unjudged(lake.standings([SHOP_DAY]), new)

    assert {SHOP_DAY: [left[0], *new]} == unjudged


def test_unjudged_of_a_day_without_standing(lake: Lake) -> None:
    """All answers of a day that was never judged are to be judged."""
    stored = append(lake, an_answer(1, A), an_answer(2, B))
    nobody = AppDay(CHAT_ID, DAY)

    unjudged = lake.unjudged(lake.standings([SHOP_DAY, nobody]), ())

    assert {SHOP_DAY: list(stored), nobody: []} == unjudged


def test_standings(lake: Lake) -> None:
    """What stands is the newest entry of each day; None where there is none."""
    load(lake, an_answer(1, A))
    load(lake, an_answer(2, B), now=START + timedelta(days=1))
    load(lake, an_answer(3, NOTHING), now=START + timedelta(days=2))
    other = AppDay(CHAT_ID, DAY)

    standings = lake.standings([SHOP_DAY, other])

    assert standings[other] is None
    assert standings[SHOP_DAY] is not None
    assert (State.HELD, 2, 4, 3) == (
        standings[SHOP_DAY].state,
        standings[SHOP_DAY].revision,
        standings[SHOP_DAY].row_count,
        standings[SHOP_DAY].sequence,
    )


@pytest.mark.parametrize("order", [1, -1], ids=["state last", "state first"])
def test_competing_entries(lake: Lake, order: int) -> None:
    """Of entries of one number the revision stands, and of revisions the later."""
    early, late = folded(an_answer(2, A)), folded(an_answer(3, B))
    state = folded(an_answer(4, a_refusal(60008)))
    for entries in [early, late, state][::order]:
        lake.append_entries(entries)

    assert {SHOP_DAY: [replace(late[0], rows=())]} == lake.entries([SHOP_DAY])


def test_apps_told(lake: Lake) -> None:
    """Apps are found by the code they were answered with, since a moment."""
    append(lake, an_answer(1, a_refusal(60028), sdk_app_id=1), now=START)
    append(
        lake,
        an_answer(2, a_refusal(60028), sdk_app_id=2),
        an_answer(3, a_refusal(60008), sdk_app_id=3),
        now=START + timedelta(hours=1),
    )

    assert {1, 2} == lake.apps_told(60028, since=START)
    assert {2} == lake.apps_told(60028, since=START + timedelta(seconds=1))
    assert set() == lake.apps_told(60028, since=START + timedelta(hours=2))


def test_batch_is_committed_once(lake: Lake, tmp_path: Path) -> None:
    """A batch that was committed before its answer got lost is not committed again."""
    load(lake, an_answer(1))
    table = delta(tmp_path, "push_loss_revisions")
    rows = _entries_table(folded(an_answer(2, B)))
    writer = lake_module._WRITERS[PUSH_LOSS_REVISIONS.name]

    for _ in range(3):
        _commit(table, rows, "the batch", writer)
    _commit(delta(tmp_path, "push_loss_revisions"), rows, "the batch", writer)

    assert 2 == delta(tmp_path, "push_loss_revisions").version()


def test_protocol(lake: Lake, tmp_path: Path) -> None:
    """The tables stay readable for engines of Delta's first protocol."""
    load(lake, an_answer(1), an_answer(2, loss_date=date(2026, 2, 28)))
    for declared in LAKE_TABLES:
        table = delta(tmp_path, declared.name)
        protocol = table.protocol()
        schema = table.schema().to_json()

        assert (1, 2) == (protocol.min_reader_version, protocol.min_writer_version)
        assert "timestamp" in schema and "timestampNtz" not in schema
        assert declared.doc == table.metadata().description
        assert "true" == table.metadata().configuration["delta.appendOnly"]


@pytest.mark.parametrize("declared", LAKE_TABLES, ids=lambda table: table.name)
def test_other_readers(lake: Lake, tmp_path: Path, declared: Table) -> None:
    """Delta's own reader and DuckDB's Parquet reader see the declared columns."""
    load(lake, an_answer(1), an_answer(2, B, loss_date=date(2026, 2, 28)))
    table = delta(tmp_path, declared.name)
    by_delta = table.to_pyarrow_table()
    by_duckdb = duckdb.sql(
        "from read_parquet(?, hive_partitioning = true, union_by_name = true)",
        params=[table.file_uris()],
    )

    assert set(declared.column_names) == set(by_duckdb.columns)
    assert by_delta.num_rows == len(by_duckdb)
    assert list(declared.column_names) == by_delta.column_names
    assert by_delta.sort_by("response_id").select(["response_id", "month"]) == (
        pa.table(by_duckdb.order("response_id").to_arrow_table())
        .select(["response_id", "month"])
        .cast(by_delta.select(["response_id", "month"]).schema)
    )


@pytest.mark.parametrize(
    "name", ["a b", "it's", 'say "x"', "数据", "100%", "a+b#c", "*{2}$"]
)
def test_awkward_folder(tmp_path: Path, name: str) -> None:
    """Any name of a folder will do."""
    folder = tmp_path / name
    lake = a_lake(folder)
    load(lake, an_answer(1, A))
    load(lake, an_answer(2, B))

    assert 2 == len(lake.answers([SHOP_DAY])[SHOP_DAY])
    assert [1, 2] == [entry.revision for entry in lake.entries([SHOP_DAY])[SHOP_DAY]]
    assert {"push_loss_responses", "push_loss_revisions"} == {
        path.name for path in (folder / "lake").iterdir()
    }


@pytest.mark.parametrize("name", ["a[1]", "a^b", "a|b", "a\\b", "a%20b", "a?b", "a\nb"])
def test_unfit_folder(tmp_path: Path, name: str) -> None:
    """A name that Delta or DuckDB cannot cope with is refused in words."""
    with pytest.raises(StoreError, match="choose a data_dir without"):
        load(a_lake(tmp_path / name), an_answer(1))


def test_forced_to_disk(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The files of a commit, its log entry and their folders are forced to the disk."""
    load(lake, an_answer(1))
    forced: list[Path] = []
    monkeypatch.setattr(log_module, "force_to_disk", forced.append)

    lake.append_entries(folded(an_answer(2), an_answer(3, B)))

    root = tmp_path / "lake" / "push_loss_revisions"
    entry = root / "_delta_log" / f"{2:020d}.json"
    actions = [json.loads(line) for line in entry.read_text().splitlines()]
    added = {root / a["add"]["path"] for a in actions if "add" in a}
    assert 2 == len(added)
    assert added | {entry, entry.parent, root} <= set(forced)
    assert {path.parent for path in added} <= set(forced)
    assert all(path.exists() for path in forced)


def test_own_commit_is_forced(lake: Lake, tmp_path: Path) -> None:
    """A batch finds its own version among those that others committed after it."""
    load(lake, an_answer(1))
    root = tmp_path / "lake" / "push_loss_revisions"
    for number in range(3):
        lake.append_entries(folded(an_answer(number)))
    log = (root / "_delta_log" / f"{2:020d}.json").read_text().splitlines()
    (batch_id,) = [json.loads(a)["txn"]["appId"] for a in log if "txn" in a]

    assert 2 == DeltaLog(root).version_of(batch_id, 4)
    with pytest.raises(StoreError, match="no commit of batch"):
        DeltaLog(root).version_of("unknown", 4)


def test_two_processes(tmp_path: Path) -> None:
    """Two processes that write at once lose nothing and double nothing."""
    writers = [run(WRITER, tmp_path, first, 12) for first in (100, 200)]

    assert [0, 0] == [writer.wait(timeout=120) for writer in writers]
    lake = a_lake(tmp_path)
    answers = lake.answers([SHOP_DAY])[SHOP_DAY]
    expected = [
        n * 10 + k for f in (100, 200) for n in range(f, f + 12) for k in range(3)
    ]
    assert expected == sorted(int(answer.response_id, 16) for answer in answers)
    assert len(expected) == len({answer.recorded_at for answer in answers})
    table = delta(tmp_path, "push_loss_revisions").to_pyarrow_table()
    assert 24 * 3 == table.num_rows


def test_killed_writer(tmp_path: Path) -> None:
    """A killed writer keeps nobody waiting, and all it committed stays."""
    writer = run(WRITER, tmp_path, 0, 10_000)
    log = tmp_path / "lake" / "push_loss_revisions" / "_delta_log"
    while len(list(log.glob("*.json"))) < 5:
        assert writer.poll() is None
        time.sleep(0.02)
    writer.kill()
    writer.wait()

    lake = a_lake(tmp_path)
    load(lake, an_answer(1, B), now=datetime.now(UTC))
    answers = lake.answers([SHOP_DAY])[SHOP_DAY]

    assert 0 == (len(answers) - 1) % 3
    assert 1 == int(answers[-1].response_id, 16)


def test_first_writers_at_once(tmp_path: Path) -> None:
    """Processes that all find no record make one, together."""
    script = WRITER.replace("with lake.writing():", "if True:")
    writers = [run(script, tmp_path, first, 1) for first in (1, 2, 3)]

    assert [0, 0, 0] == [writer.wait(timeout=60) for writer in writers]
    assert 9 == delta(tmp_path, "push_loss_responses").to_pyarrow_table().num_rows


def test_taken_turn(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who waits too long for its turn is told who to look for."""
    monkeypatch.setattr(lake_module, "LOCK_SECONDS", 0.01)
    with (
        FileLock(tmp_path / "record.lock"),
        pytest.raises(StoreError, match=r"fuser .*record\.lock"),
    ):
        append(lake, an_answer(1))


def test_errors_of_the_body_pass(lake: Lake) -> None:
    """What goes wrong inside a turn keeps its own kind, and the turn ends."""
    with pytest.raises(ZeroDivisionError), lake.writing():
        raise ZeroDivisionError
    append(lake, an_answer(1))

    assert [SHOP_DAY] == list(lake.answers([SHOP_DAY]))


BROKEN = {
    "file in place of the folder": lambda root: root.write_text("x"),
    "file in place of a table": lambda root: (
        root.mkdir(),
        (root / "push_loss_responses").write_text("x"),
        (root / "push_loss_revisions").write_text("x"),
    ),
    "file in place of a log": lambda root: [
        (
            (root / table.name).mkdir(parents=True),
            (root / table.name / "_delta_log").write_text("x"),
        )
        for table in LAKE_TABLES
    ],
}


@pytest.mark.parametrize("breaking", BROKEN.values(), ids=BROKEN.keys())
def test_broken_folder(
    lake: Lake, tmp_path: Path, breaking: Callable[[Path], object]
) -> None:
    """A folder that cannot hold the record is told as such, with its path."""
    breaking(tmp_path / "lake")

    for use in (
        lambda: append(lake, an_answer(1)),
        lambda: lake.answers([SHOP_DAY]),
        lambda: lake.entries([SHOP_DAY]),
        lambda: lake.append_entries(folded(an_answer(1))),
    ):
        with pytest.raises(StoreError, match=re.escape(str(tmp_path / "lake"))):
            use()


def test_broken_lock(tmp_path: Path) -> None:
    """A data folder that is a file is told as such."""
    (tmp_path / "data").write_text("x")

    with pytest.raises(StoreError, match="cannot write the record"):
        append(a_lake(tmp_path / "data"), an_answer(1))


@pytest.mark.parametrize("torn", [b"", b"PAR1 torn"], ids=["empty", "torn"])
def test_torn_file(lake: Lake, tmp_path: Path, torn: bytes) -> None:
    """A data file that is damaged is told as such."""
    load(lake, an_answer(1))
    for path in (tmp_path / "lake").rglob("*.parquet"):
        path.write_bytes(torn)

    with pytest.raises(StoreError, match="cannot read the record"):
        lake.answers([SHOP_DAY])
    with pytest.raises(StoreError, match="cannot read the record"):
        lake.entries([SHOP_DAY])


def test_line_ends_in_a_text_tear_no_log(lake: Lake) -> None:
    """What a text of the vendor holds is no end of a line in the log of a table."""
    load(lake, an_answer(1, a_body({AWKWARD: 3}), error_info=AWKWARD))

    assert [] == [fault for table in lake.tables for fault in table.log_faults()]


@pytest.mark.parametrize("kept", [1, 2])
def test_first_commit_that_ends_between_lines(
    lake: Lake, tmp_path: Path, kept: int
) -> None:
    """A table whose making a power cut has torn is made anew."""
    lake.entries([SHOP_DAY])
    (first,) = tmp_path.glob("lake/push_loss_revisions/_delta_log/*.json")
    first.write_text("\n".join(first.read_text().splitlines()[:kept]))

    load(lake, an_answer(1))

    assert lake.entries([SHOP_DAY])[SHOP_DAY]


@pytest.mark.parametrize("told", [None, "many", {}])
def test_metrics_of_another_writer(lake: Lake, tmp_path: Path, told: object) -> None:
    """A commit is no less whole for what somebody else's says of itself."""
    load(lake, an_answer(1))
    newest = max(tmp_path.glob("lake/push_loss_revisions/_delta_log/*.json"))
    info, *actions = map(json.loads, newest.read_text().splitlines())
    info["commitInfo"]["operationMetrics"]["num_added_files"] = told
    newest.write_text("\n".join(map(json.dumps, [info, *actions])))

    assert [] == [fault for table in lake.tables for fault in table.log_faults()]


@pytest.mark.parametrize("keep", [0, 1, 100, -1], ids=["nothing", "1", "100", "most"])
@pytest.mark.parametrize("declared", LAKE_TABLES, ids=lambda table: table.name)
def test_torn_commit(lake: Lake, tmp_path: Path, declared: Table, keep: int) -> None:
    """A commit that a power cut has torn is set aside, and all others stand."""
    for number in range(3):
        load(lake, an_answer(number, [A, B][number % 2]))
    log = tmp_path / "lake" / declared.name / "_delta_log"
    newest = max(log.glob("*.json"))
    newest.write_bytes(newest.read_bytes().rstrip()[:keep])

    load(lake, an_answer(9, a_refusal(70020)))

    answers = lake.answers([SHOP_DAY])[SHOP_DAY]
    entries = lake.entries([SHOP_DAY])[SHOP_DAY]
    is_answer_lost = "responses" in declared.name
    assert (3 if is_answer_lost else 4) == len(answers)
    assert State.REFUSED is entries[-1].state
    assert 3 == entries[-1].revision


def test_commit_of_another_version(lake: Lake, tmp_path: Path) -> None:
    """A commit that is whole is never set aside, whatever else is wrong with it."""
    load(lake, an_answer(1))
    log = tmp_path / "lake" / "push_loss_responses" / "_delta_log"
    newest = max(log.glob("*.json"))
    newest.write_text('{"add": 1}')

    with pytest.raises(StoreError, match="cannot open the record"):
        lake.answers([SHOP_DAY])
    assert newest.exists()


def test_checkpoint_is_forced(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Checkpoints, which other commits build on, are forced to the disk too."""
    monkeypatch.setitem(
        delta_module._TABLE_CONFIGURATION, "delta.checkpointInterval", "2"
    )
    forced: list[Path] = []
    monkeypatch.setattr(log_module, "force_to_disk", forced.append)
    for number in range(4):
        append(lake, an_answer(number))
    log = tmp_path / "lake" / "push_loss_responses" / "_delta_log"

    checkpoints = set(log.glob("*checkpoint*"))
    assert 2 <= len(checkpoints)
    assert checkpoints <= set(forced)


def test_vanished_file(lake: Lake, tmp_path: Path) -> None:
    """A data file that somebody deleted is told as such."""
    load(lake, an_answer(1))
    for path in (tmp_path / "lake").rglob("*.parquet"):
        path.unlink()

    with pytest.raises(StoreError, match="cannot read the record"):
        lake.answers([SHOP_DAY])


def test_files_that_cannot_hold_a_day_are_not_read(lake: Lake, tmp_path: Path) -> None:
    """What stands is read from the files of its days, and from no file of losses."""
    load(lake, an_answer(1, loss_date=date(2026, 2, 27)))
    load(lake, an_answer(2, loss_date=date(2026, 2, 28)))
    load(lake, an_answer(3))
    root = tmp_path / "lake" / "push_loss_revisions"
    for path in root.rglob("*.parquet"):
        if "row_kind=loss" in str(path) or "month=2026-02" in str(path):
            path.unlink()

    assert [SHOP_DAY] == list(lake.entries([SHOP_DAY]))


def test_tidy(lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many small files become one, and every row stays."""
    monkeypatch.setattr(lake_module, "MANY_FILES", 5)
    for number in range(5):
        load(lake, an_answer(number, [A, B][number % 2]), now=START)
    before = [sorted_rows(tmp_path, table.name) for table in LAKE_TABLES]
    answers, entries = lake.answers([SHOP_DAY]), lake.entries([SHOP_DAY])

    merged = lake.tidy(today=DAY)

    assert 3 == merged  # answers, markers and losses of one month
    assert [1, 2] == [len(delta(tmp_path, t.name).file_uris()) for t in LAKE_TABLES]
    assert before == [sorted_rows(tmp_path, table.name) for table in LAKE_TABLES]
    assert (answers, entries) == (lake.answers([SHOP_DAY]), lake.entries([SHOP_DAY]))
    assert 0 == lake.tidy(today=DAY)


def test_writers_have_their_turn_while_all_is_tidied(
    lake: Lake, tmp_path: Path
) -> None:
    """Whoever has something to record waits for one merge, not for all of them."""
    for number in range(24):
        day = date(2025, 1 + number % 12, 1)
        append(lake, an_answer(number, loss_date=day), now=START)
    tidying = threading.Thread(target=a_lake(tmp_path).tidy_thoroughly)

    tidying.start()
    while "OPTIMIZE" not in operations(tmp_path):
        time.sleep(0.001)
    append(lake, an_answer(99), now=START)
    tidying.join()

    done = operations(tmp_path)
    assert 12 == done.count("OPTIMIZE")
    assert "WRITE" in done[done.index("OPTIMIZE") :]
    assert done[::-1].index("OPTIMIZE") < done[::-1].index("WRITE")


def operations(folder: Path) -> list[str]:
    """What was done to the table of answers, oldest first."""
    history = delta(folder, "push_loss_responses").history()
    return [entry["operation"] for entry in reversed(history)]


def test_recorded_at_rises_after_tidying(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Merging files does not lose the last recorded time."""
    monkeypatch.setattr(lake_module, "MANY_FILES", 2)
    append(lake, an_answer(1))
    (last,) = append(lake, an_answer(2))
    lake.tidy(today=DAY)

    (next_,) = append(lake, an_answer(3), now=START - timedelta(days=9))

    assert last.recorded_at < next_.recorded_at


@pytest.mark.parametrize(
    ("files", "month_is_over", "is_tidied"),
    [(9, True, False), (10, True, True), (10, False, False)],
)
def test_tidy_the_past(
    lake: Lake, files: int, month_is_over: bool, is_tidied: bool
) -> None:
    """A month that is long over is merged sooner than one that still grows."""
    for number in range(files):
        append(lake, an_answer(number))
    today = DAY + timedelta(days=120 if month_is_over else 0)

    assert is_tidied == bool(lake.tidy(today=today))


def sorted_rows(folder: Path, name: str) -> list[str]:
    """All rows of a table, as text."""
    return sorted(map(str, delta(folder, name).to_pyarrow_table().to_pylist()))


def test_windows_of_several_months(lake: Lake, tmp_path: Path) -> None:
    """Each of the newest months tells how its days were cut, summer and winter too."""
    for month in range(1, 13):
        for day in (1, 2):
            append(lake, an_answer(month, loss_date=date(2025, month, day)))
    append(lake, an_answer(1, loss_date=date(2024, 12, 31)))

    windows = lake.windows()

    assert [date(2025, month, 2) for month in range(1, 13)] == [w.day for w in windows]
    assert {an_answer(1).window_start} == {w.start for w in windows}


def test_windows_of_nothing(lake: Lake, tmp_path: Path) -> None:
    """Where nothing was asked for, any zone will do; looking makes no record."""
    assert [] == lake.windows()
    assert not (tmp_path / "lake").exists()
