"""`pushloss load`, `replay`, `accept`, `status`: from the API to the warehouse."""

import csv
import io
import json
import shutil
import signal
from collections.abc import Callable
from datetime import date, datetime, timedelta
from typing import Any

import duckdb
import pytest

from tests.trust.planted import places, tells

Run = Callable[..., Any]
ROWS = (
    "select sdk_app_id, loss_date, stage, scope, platform_id, err_code, err_info,"
    " err_count from push_loss order by all"
)


def served_rows(shop: Any) -> list[list[str]]:
    """Give what the simulator says it served, newest call of each day, as csv cells."""
    newest = {
        (call["sdk_app_id"], call["day"]): call["rows"]
        for call in shop.calls()
        if call["error_code"] == 0
    }
    return sorted(
        [
            str(app),
            day,
            row["stage"],
            row["scope"],
            "" if row["platform_id"] is None else str(row["platform_id"]),
            row["err_code"],
            row["err_info"],
            str(row["err_count"]),
        ]
        for (app, day), rows in newest.items()
        for row in rows
    )


def loaded_rows(pushloss: Run) -> list[list[str]]:
    """Give the warehouse's rows as csv cells."""
    ran = pushloss("sql", ROWS, "--format", "csv")
    header, *rows = csv.reader(io.StringIO(ran.out))
    assert ran.code == 0 and header[0] == "sdk_app_id"
    return sorted(rows)


def everything(pushloss: Run) -> str:
    """Give every row of every table that a second load must not change."""
    return "".join(
        pushloss("sql", f"from {table} order by all", "--format", "csv").out
        for table in ("push_loss", "push_loss_history", "push_loss_days")
    )


def of_week(week: tuple[date, ...]) -> tuple[str, str]:
    """Give FROM and TO."""
    return str(week[0]), str(week[-1])


@pytest.fixture
def frozen(shop: Any) -> None:
    """The simulator's numbers stand still."""
    shop.simulator.set_now(datetime.now().astimezone().isoformat())


@pytest.mark.usefixtures("frozen")
def test_a_week_of_three_apps_equals_what_was_served(shop, pushloss, week):
    """Every row that the API served is in the warehouse, and no other."""
    ran = pushloss("load", *of_week(week))

    assert 0 == ran.code
    assert "21 app days done (21 loaded), 21 with new content" in ran.out
    assert served_rows(shop) == loaded_rows(pushloss)


@pytest.mark.usefixtures("frozen")
def test_loading_twice_changes_nothing(pushloss, week):
    """A second load of the same answers makes no revision and changes no row."""
    pushloss("load", *of_week(week))
    before = everything(pushloss)

    ran = pushloss("load", *of_week(week))

    assert "21 app days done (21 loaded), 0 with new content" in ran.out
    assert before == everything(pushloss)


@pytest.mark.usefixtures("frozen")
def test_replay_gives_the_same_without_a_call(shop, pushloss, week):
    """Tables rebuilt from stored answers alone are the same, cell by cell."""
    pushloss("load", *of_week(week))
    before, calls = everything(pushloss), len(shop.calls())
    shutil.rmtree(shop.folder / "data" / "lake" / "push_loss_revisions")
    (shop.folder / "data" / "warehouse.duckdb").unlink()
    (shop.folder / "data" / "work.duckdb").unlink()

    ran = pushloss("replay", *of_week(week))

    assert 0 == ran.code
    assert before == everything(pushloss)
    assert calls == len(shop.calls())


@pytest.mark.usefixtures("frozen")
def test_one_failing_app_day_harms_no_other(shop, pushloss, week):
    """The failed app day is named with what to do; --missing asks only for it."""
    bad = week[3]
    shop.simulator.script(
        [
            {
                "sdk_app_id": 1400100001,
                "day": str(bad),
                "error_code": 90100,
                "error_info": "Invalid request parameters",
            }
        ]
    )

    ran = pushloss("load", *of_week(week))
    asked = len(shop.calls())
    missing = pushloss("sql", "select count(distinct (app, loss_date)) from push_loss")
    again = pushloss("load", *of_week(week), "--missing")

    assert 1 == ran.code
    (line,) = [line for line in ran.out.splitlines() if "✗" in line]
    assert "app_0001" in line and str(bad) in line and "90100" in line and "→" in line
    assert "20" in missing.out
    assert 0 == again.code
    assert [(1400100001, str(bad))] == [
        (call["sdk_app_id"], call["day"]) for call in shop.calls()[asked:]
    ]


def test_late_counts_become_a_new_revision(shop, pushloss, week):
    """A day that grew is replaced whole, and its history stays."""
    day = str(week[-1])
    noon = datetime.fromisoformat(f"{week[-1] + timedelta(days=1)}T12:00:00+08:00")
    shop.simulator.set_now(noon.isoformat())
    pushloss("load", day, day)
    shop.simulator.set_now((noon + timedelta(days=2)).isoformat())

    pushloss("load", day, day)

    counted = pushloss(
        "sql",
        "select revision, count(*) from push_loss_history group by all order by all",
        "--format",
        "json",
    )
    assert [1, 2] == [row["revision"] for row in json.loads(counted.out)]
    assert served_rows(shop) == loaded_rows(pushloss)


def test_an_empty_answer_is_held_until_it_is_accepted(shop, pushloss, week):
    """Rows stay under an empty answer; `accept` applies it, `replay` keeps that."""
    day = str(week[-1])
    pushloss("load", day, day, "--app", "app_0000")
    shop.simulator.script([{"empty": True, "times": None}])

    held = pushloss("load", day, day, "--app", "app_0000")
    kept = pushloss("sql", "select count(*) > 0 as kept from push_loss")
    status = pushloss("status", "--app", "app_0000")
    accepted = pushloss("accept", day, "--app", "app_0000")
    undone = pushloss("accept", day, "--app", "app_0000", "--undo")
    back = pushloss("sql", "select count(*) > 0 as back from push_loss")
    again = pushloss("accept", day, "--app", "app_0000")
    pushloss("replay", day, day)
    after = pushloss(
        "sql", "select state, revision from push_loss_days", "--format", "json"
    )

    assert 1 == held.code and f"pushloss accept {day} --app app_0000" in held.out
    assert "True" in kept.out and "held" in status.out
    assert 0 == accepted.code == undone.code == again.code
    assert "is held as of revision 3" in undone.out and "True" in back.out
    assert [{"state": "empty", "revision": 4}] == json.loads(after.out)


def test_accepting_what_is_not_held_is_refused(pushloss, week):
    """`accept` says what the day is instead of doing harm."""
    pushloss("load", str(week[-1]), str(week[-1]))

    ran = pushloss("accept", str(week[-1]), "--app", "app_0000")

    assert 2 == ran.code and "nothing is held" in ran.err and "loaded" in ran.err


def test_status_shows_each_day(pushloss, week):
    """Loaded, failed and never asked days stand with the days that are left."""
    pushloss("load", str(week[1]), str(week[1]), "--app", "app_0001")

    ran = pushloss("status", "--app", "app_0001")

    table, below = ran.out.split("\n\n")
    lines = {line.split()[1]: line for line in table.splitlines()[1:]}
    assert [str(day) for day in week] == list(lines)
    assert "6 app days not in" in below
    assert f"pushloss load {week[0]} {week[-1]} --missing --app app_0001" in below
    assert "loaded" in lines[str(week[1])]
    assert "never asked" in lines[str(week[0])]


def test_an_expired_day_ends_in_exit_1_without_a_call(shop, pushloss, week):
    """What the API has forgotten is not asked for, but reported."""
    day = str(week[0] - timedelta(days=3))

    ran = pushloss("load", day, day, "--app", "app_0000")
    state = pushloss("sql", "select state from push_loss_days", "--format", "csv")

    assert 1 == ran.code and "expired" in ran.out and day in ran.out
    assert "state\nexpired\n" == state.out
    assert [] == shop.calls()


def test_a_wrong_secret_is_named_and_harms_no_other(shop, pushloss, monkeypatch, week):
    """The app with the wrong key is refused by name; the others load."""
    wrong = "deadbeef" * 8
    monkeypatch.setenv("KEY_APP_0002", wrong)

    ran = pushloss("load", str(week[-2]), str(week[-1]))

    assert 1 == ran.code
    failed = [line for line in ran.out.splitlines() if "✗" in line]
    assert 2 == len(failed) and all("app_0002" in line for line in failed)
    assert "secret key" in failed[0]
    assert "4 app days done" in ran.out
    assert wrong not in ran.out + ran.err


def test_no_secret_is_left_anywhere(shop, pushloss, monkeypatch, week):
    """Neither key nor signature is in any file or output, after failures too."""
    monkeypatch.setenv("KEY_APP_0002", "deadbeef" * 8)
    shop.simulator.script([{"http_status": 502}, {"close": True}])

    ran = pushloss("load", *of_week(week))

    keys = [shop.environment[f"KEY_APP_000{n}"] for n in (0, 1)] + ["deadbeef" * 8]
    assert [] == places(shop.folder, keys)
    assert not tells(ran.out + ran.err, keys)


def test_interrupting_keeps_what_has_arrived(shop, pushloss, week):
    """Ctrl-C keeps the finished days; --missing loads the rest."""
    shop.simulator.script([{"delay_seconds": 1, "times": None}])
    process = shop.start("load", *of_week(week))
    shop.wait_for_calls(6)
    process.send_signal(signal.SIGINT)
    ran = shop.finish(process)
    shop.simulator.clear_script()
    again = pushloss("load", *of_week(week), "--missing")

    assert 130 == ran.code and "--missing" in ran.err and "Traceback" not in ran.err
    assert 0 == again.code
    assert served_rows(shop) == loaded_rows(pushloss)


@pytest.mark.filterwarnings("ignore::pandas.errors.Pandas4Warning")  # DuckDB's own
def test_the_file_opens_as_a_pandas_frame(shop, pushloss, week):
    """An analyst's notebook reads exact counts, days and UTC times."""
    day = str(week[-1])
    pushloss("load", day, day, "--app", "app_0000")

    with duckdb.connect(
        shop.folder / "data" / "warehouse.duckdb", read_only=True
    ) as warehouse:
        frame = warehouse.sql("from push_loss where scope = 'platform'").df()

    assert "int64" == str(frame["err_count"].dtype)
    assert {day} == set(frame["loss_date"].astype(str))
    assert frame["fetched_at"].dt.tz is not None
    served = [row for row in shop.calls()[-1]["rows"] if row["scope"] == "platform"]
    assert sum(row["err_count"] for row in served) == frame["err_count"].sum()


def test_a_record_that_cannot_be_written_is_no_success(shop, pushloss, week):
    """A load that broke before its first day says why, and shows no tick."""
    lake = shop.folder / "data" / "lake"
    lake.mkdir(parents=True)
    (lake / "push_loss_responses").write_text("not a table")

    ran = pushloss("load", str(week[-1]), str(week[-1]))

    assert 1 == ran.code
    assert "push_loss_responses" in ran.err and "✓" not in ran.out
