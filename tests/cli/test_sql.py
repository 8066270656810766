"""`pushloss sql`: exact, read-only, for people and for machines."""

import csv
import json
from datetime import date
from io import StringIO

import duckdb
import pytest


@pytest.fixture
def warehouse(shop):
    """A warehouse file made by hand, with values that formats tend to spoil."""
    folder = shop.folder / "data"
    folder.mkdir()
    with duckdb.connect(folder / "warehouse.duckdb") as connection:
        connection.execute("set timezone = 'UTC'")
        connection.execute(
            "create table odd as select 9223372036854775807::bigint as big,"
            " 'say \"hi\",\nplease [bold]' as said, null::varchar as nothing,"
            " '中文' as chinese, date '2026-03-01' as day,"
            " timestamptz '2026-03-01 12:00:00.000001+00' as moment,"
            " ['a', 'b'] as list, 0.1::double as tenth"
        )
    return folder / "warehouse.duckdb"


@pytest.mark.usefixtures("warehouse")
def test_json_is_exact(pushloss):
    """Every value comes back from JSON as it lies in the table."""
    ran = pushloss("sql", "from odd", "--format", "json")

    assert [
        {
            "big": 9223372036854775807,
            "said": 'say "hi",\nplease [bold]',
            "nothing": None,
            "chinese": "中文",
            "day": "2026-03-01",
            "moment": "2026-03-01T12:00:00.000001+00:00",
            "list": ["a", "b"],
            "tenth": 0.1,
        }
    ] == json.loads(ran.out)


@pytest.mark.usefixtures("warehouse")
def test_csv_is_exact(pushloss):
    """CSV quotes what needs it, keeps all digits, and leaves NULL empty."""
    ran = pushloss("sql", "from odd", "--format", "csv")

    assert (
        "big,said,nothing,chinese,day,moment,list,tenth\n"
        '9223372036854775807,"say ""hi"",\nplease [bold]",,中文,2026-03-01,'
        '2026-03-01T12:00:00.000001+00:00,"[""a"", ""b""]",0.1\n'
    ) == ran.out


@pytest.mark.usefixtures("warehouse")
def test_a_sum_wider_than_64_bits_is_exact(pushloss):
    """Sums of counts are 128-bit in DuckDB; no digit is lost on the way."""
    ran = pushloss("sql", "select sum(big) + sum(big) from odd", "--format", "csv")

    assert "18446744073709551614" == ran.out.splitlines()[1]


@pytest.mark.usefixtures("warehouse")
def test_a_table_shows_markup_as_text(pushloss):
    """What looks like markup in an error text is shown, not obeyed."""
    ran = pushloss("sql", "select said, big, nothing from odd")

    assert "please [bold]" in ran.out
    assert "9,223,372,036,854,775,807" in ran.out


STEERING = "\x1b[2J\x1b]52;c;cm0=\x07\x9b2J\r\b\x7f\u202e\u2028\0"
AS_SQL = " || ".join(f"chr({ord(sign)})" for sign in STEERING)
SHOWN = r"\u001b[2J\u001b]52;c;cm0=\u0007\u009b2J\r\b\u007f\u202e\u2028\u0000"


@pytest.mark.usefixtures("warehouse")
@pytest.mark.parametrize(
    ("query", "output_format"),
    [
        (f"select {AS_SQL} as said", "table"),
        (f"select {AS_SQL} as said", "json"),
        (f'select 1 as "{STEERING.replace(chr(0), "")}"', "table"),
        (f"select cast({AS_SQL} as int)", "table"),
    ],
    ids=["table", "json", "column", "error"],
)
def test_no_text_steers_a_terminal(pushloss, query, output_format):
    """Controls and turns of direction in a text are shown by their codes."""
    ran = pushloss("sql", query, "--format", output_format)

    assert SHOWN.removesuffix(r"\u0000") in ran.out + ran.err
    assert not set(STEERING) & set(ran.out + ran.err) - set("[2J]5;cm0=")


@pytest.mark.usefixtures("warehouse")
def test_a_program_gets_every_character(pushloss):
    """JSON and, in a pipe, CSV say what is there, to the last control character."""
    query = f"select {AS_SQL} as said"

    in_json = pushloss("sql", query, "--format", "json")
    in_csv = pushloss("sql", query, "--format", "csv")

    assert [{"said": STEERING}] == json.loads(in_json.out)
    assert [["said"], [STEERING]] == list(csv.reader(StringIO(in_csv.out, "")))


@pytest.mark.parametrize(
    "statement",
    [
        "create table t (a int)",
        "create temp table t as select 1",
        "attach ':memory:' as m",
        "set variable x = 1",
        "vacuum",
        "delete from odd",
        "attach '/tmp/other.duckdb'",
        "copy odd to '/tmp/odd.csv'",
        "select * from read_text('/etc/hostname')",
        "install httpfs",
        "select * from nowhere",
        "selec 1",
        "",
        ";",
        "/* nothing */",
        "select 1; select 2",
    ],
)
def test_whatever_is_no_query_of_the_file_is_refused(pushloss, warehouse, statement):
    """Writing, attaching, reading other files and mistakes end in exit 2."""
    before = warehouse.read_bytes()

    ran = pushloss("sql", statement)

    assert 2 == ran.code and "error:" in ran.err and not ran.out
    assert before == warehouse.read_bytes()


@pytest.mark.usefixtures("warehouse")
def test_a_query_never_writes_to_the_current_folder(pushloss):
    """Rows too many for the memory are an error; DuckDB would spill them there."""
    ran = pushloss("sql", "select current_setting('temp_directory')", "--format", "csv")

    assert "current_setting('temp_directory')\n\"\"\n" == ran.out


@pytest.mark.usefixtures("warehouse")
def test_dates_are_plain(pushloss):
    """A date in a table is an ISO date."""
    ran = pushloss("sql", "select day from odd")

    assert str(date(2026, 3, 1)) in ran.out
