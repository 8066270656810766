"""What others write does nothing but stand there: in SQL, terminal and report."""

import ast
import io
import json
import multiprocessing
import os
import re
import signal
import socket
import stat
import sys
import tempfile
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime
from multiprocessing.connection import Connection
from pathlib import Path

import duckdb
import pytest
from playwright.sync_api import Browser, Page

import pushloss_pipeline
from pushloss_pipeline.adapters.comparison import differences
from pushloss_pipeline.adapters.warehouse import Warehouse
from pushloss_pipeline.alarming import alarms_now, in_messages
from pushloss_pipeline.cli import main
from pushloss_pipeline.domain.errors import PushLossError
from pushloss_pipeline.domain.words import visible
from pushloss_pipeline.overview import check_day
from pushloss_pipeline.parts import open_parts
from pushloss_pipeline.reporting import default_path, write_report
from pushloss_pipeline.settings import read_settings
from pushloss_pipeline.steps import load_days, publish
from tests.world import THREE_APPS, World, a_world, fault, secret_variable

PACKAGE = Path(pushloss_pipeline.__file__).parent
RUNS_SQL = {"execute", "executemany", "query", "query_all", "sql"}
SQL_BEGINS = re.compile(
    r"\s*(alter|attach|call|comment|copy|create|delete|describe|drop|from|insert|null"
    r"|pragma|select|set|union|update|use|with)\W"
)
PUT_INTO_SQL = {
    # Names and columns of our own declarations and files; a path as a literal.
    "adapters/comparison.py": {
        "columns",
        "differing",
        "name",
        "quoted(str(path))",
        "read_statement('lake', name).text",
    },
    "adapters/pacing.py": {
        "SQLiteQueries.CREATE_BUCKET_TABLE.format(table=table)",
        "bucket.table",
    },
    "adapters/warehouse.py": {
        "_empty_select(PUSH_LOSS_DAYS, without=_NOT_IN_ENTRIES)",
        "_sql_type(column.type)",
        "column.name",
        "columns",
        "name",
        "parameters",
        "quoted(column.doc)",
        "quoted(str(self.path))",
        "quoted(table.doc)",
        "same",
        "select",
        "statement.name",
        "statement.text",
        "table.name",
    },
    # One of four names that the notebook offers.
    "explore/notebook.py": {"split"},
    "upkeep.py": {"view.name"},
}
"""All that is put into the text of SQL anywhere, and none of it is foreign."""

FOREIGN = {
    "sql": "'; drop table push_loss; --",
    "script": "<script>window.pwned=1;alert(1)</script>",
    "end of script": "</script></style><!--<svg/onload=window.pwned=1>",
    "picture": "<img src=x onerror=window.pwned=1>",
    "template": "{{7*7}}{% raw %}{#",
    "interpolation": "${window.pwned=1}`",
    "format": "%s%n%(x)d{0}",
    "screen": "\x1b[2J\x1b[H\x1b[31m",
    "title": "\x1b]0;owned\x07",
    "link": "\x1b]8;;http://e.example\x07click\x1b]8;;\x07",
    "clipboard": "\x1b]52;c;cm0gLXJm\x07",
    "C1": "\x9b2J\x9d0;x\x9c\x85",
    "overwriting": "good\rbad\x08\x08\x7f",
    "two lines": "one\ntwo\r\nthree\u2028four\u2029five\x0b\x0csix",
    "direction": "abc\u202efdp.exe\u2066\u2069\u200f",
    "nul": "a\0b",
    "unseen": "\U000e0041\ufeff\u200b\xad",
    "markup": "[red]x[/red][link=http://e.example]y[/]",
    "Markdown": "![x](http://e.example/x.png) [a](javascript:alert(1))",
    "everyone": "<!channel> @everyone",
    "emoji": "👩‍👩‍👧🏳️‍🌈 :warning:",
    "formula": "=cmd|' /C calc'!A0",
    "quotes": "\"'`\\\\",
    "long": "x" * 100_000,
}
ALL_OF_IT = "".join(text for name, text in FOREIGN.items() if name != "long")


class Terminal(io.StringIO):
    """A terminal that cannot colour, so that every escape in it is foreign."""

    def isatty(self) -> bool:
        """Say that it is one."""
        return True


@dataclass(frozen=True)
class Attacked:
    """A world whose vendor has answered with hostile texts, and what was said of it."""

    world: World
    day: date
    said: str

    def say(self, *arguments: str) -> str:
        """What a command shows in a terminal."""
        return in_a_terminal(*arguments)


def in_a_terminal(*arguments: str) -> str:
    """Run the command in this process; what it shows, errors too."""
    shown = Terminal()
    with (
        pytest.MonkeyPatch.context() as patch,
        redirect_stdout(shown),
        redirect_stderr(shown),
    ):
        patch.setenv("TERM", "dumb")
        patch.setattr(sys, "argv", ["pushloss", *arguments])
        with suppress(SystemExit):
            main()
    return shown.getvalue()


def answer_of(texts: list[str]) -> str:
    """An OK answer with a loss for each text, as code and as description."""
    entries = [
        {"ErrCode": text[:500], "ErrCount": 7000 + number, "ErrInfo": text}
        for number, text in enumerate(texts)
    ]
    return json.dumps(
        {
            "ActionStatus": "OK",
            "ErrorCode": 0,
            "ErrorInfo": ALL_OF_IT,
            "ReadyToSendLoss": entries,
            "PostSendDeliveredLoss": [],
            "PlatformReadyToSendLoss": [{**e, "PushPlatform": 1} for e in entries],
            "PlatformPostSendDeliveredLoss": [],
        }
    )


@pytest.fixture(scope="module")
def attacked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Attacked]:
    """One day of three apps: hostile losses, a hostile refusal, a hostile body."""
    folder = tmp_path_factory.mktemp("attacked")
    home = folder / "home"
    home.mkdir()
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    with a_world(folder) as world, pytest.MonkeyPatch.context() as patch:
        world.now = datetime.now(UTC)
        for app in world.apps:
            patch.setenv(secret_variable(app), app.secret_key)
        patch.setenv("PUSHLOSS_CONFIG", str(folder / "pushloss.toml"))
        patch.setenv("DAGSTER_HOME", str(home))
        losing, refused, unreadable = world.names
        unread = {"ErrorCode": 0, "ActionStatus": f"{FOREIGN['C1']}\u202e<b>"}
        world.simulator.script(
            [
                fault(world, losing, times=None, body=answer_of([*FOREIGN.values()])),
                fault(
                    world, refused, times=None, error_code=60002, error_info=ALL_OF_IT
                ),
                fault(world, unreadable, times=None, body=json.dumps(unread)),
            ]
        )
        day = world.days[-1]
        said = in_a_terminal("load", str(day), str(day))
        yield Attacked(world, day, said)


def test_only_our_own_words_are_put_into_sql() -> None:
    """Every value is bound; what is formatted into SQL is listed here, file by file."""
    found: dict[str, set[str]] = defaultdict(set)
    for path in PACKAGE.rglob("*.py"):
        name = path.relative_to(PACKAGE).as_posix()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if parts := put_into_sql(node):
                found[name] |= parts

    assert found == PUT_INTO_SQL


def put_into_sql(node: ast.AST) -> set[str]:
    """Expressions that a node formats into a text of SQL."""
    if isinstance(node, ast.JoinedStr):
        first = node.values[0]
        if isinstance(first, ast.Constant) and SQL_BEGINS.match(str(first.value)):
            return {
                ast.unparse(value.value)
                for value in node.values
                if isinstance(value, ast.FormattedValue)
            }
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        made_here = [arg for arg in node.args[:1] if isinstance(arg, ast.Call)]
        made_here += [arg for arg in node.args[:1] if isinstance(arg, ast.BinOp)]
        if node.func.attr in RUNS_SQL:
            texts = {ast.unparse(arg) for arg in made_here}
            return {text for text in texts if not text.startswith("' union '.join(")}
    return set()


def test_a_data_folder_may_have_any_name(world: World, tmp_path: Path) -> None:
    """Quotes, blanks, wildcards and what URLs and shells read are part of a name."""
    name = 'it\'s "a" 100% #y;$HOME ~ & * {b}: -- 用户'
    world.reconfigure('data_dir = "data"', f"data_dir = {json.dumps(name)}")
    days = world.days[-1:]
    world.load(days=days)
    parts = world.parts

    assert [name] == [path.name for path in tmp_path.iterdir() if path.is_dir()]
    assert world.truth(days=days) == world.loaded()
    assert [] == differences(parts.warehouse.path, parts.lake.revisions())
    assert default_path(parts) == write_report(parts).path


def test_every_text_is_kept_as_it_came(attacked: Attacked) -> None:
    """Nothing is lost or changed on the way through record, file and views."""
    kept = "select err_code, err_info from {} where loss_date = $day and scope = $scope"
    texts = {(text[:500], text) for text in FOREIGN.values()}
    for table in ("push_loss", "push_loss_history"):
        for scope in ("overall", "platform"):
            rows = attacked.world.rows(
                kept.format(table), day=attacked.day, scope=scope
            )
            assert texts == set(rows), (table, scope)
    ((told,),) = attacked.world.rows(
        "select error_info from push_loss_days where state = 'refused'"
        " and error_code = 60002"
    )
    assert ALL_OF_IT == told


def test_views_and_checks_stand_hostile_texts(attacked: Attacked) -> None:
    """Every view answers; every check runs, and those of the rows pass."""
    views = attacked.world.rows(
        "select view_name from duckdb_views() where not internal"
    )
    failed = {
        result.statement.name
        for result in check_day(attacked.world.parts, attacked.day)
        if result.bad_rows.rows
    }

    for (view,) in views:
        attacked.world.rows(f"from {view}")
    assert len(views) > 10
    assert failed <= {"every_app_is_present", "no_day_expires_soon"}


QUERIES = {
    "losses": "select err_code, err_info from push_loss where app = 'app_0000'",
    "days": "from push_loss_days",
    "column": f'select 1 as "{ALL_OF_IT.replace(chr(0), "").replace(chr(34), "")}"',
    "error": "select cast(err_info as int) from push_loss where err_info like '%2J%'",
}


@pytest.mark.parametrize("output_format", ["table", "csv", "json"])
@pytest.mark.parametrize("query", QUERIES.values(), ids=QUERIES.keys())
def test_no_query_steers_the_terminal(
    attacked: Attacked, query: str, output_format: str
) -> None:
    """Of what a text holds, no control but the new line comes to a terminal."""
    assert_steers_nothing(attacked.say("sql", query, "--format", output_format))


def test_no_other_command_steers_the_terminal(attacked: Attacked) -> None:
    """Neither a failed load, nor the status, nor the list of alarms."""
    refusal = f"60002 {visible(' '.join(ALL_OF_IT.split()))}"

    assert refusal[:200] in attacked.said
    for shown in (attacked.said, attacked.say("status"), attacked.say("alarms")):
        assert "60002" in "".join(shown.split())  # however narrow the column
        assert_steers_nothing(shown)
    assert 1 == attacked.said.count(refusal[:40])


def assert_steers_nothing(shown: str) -> None:
    """It is what a terminal shows as it stands."""
    assert shown
    assert {"\n"} >= {char for char in shown if visible(char) != char} - {"\n"}


def test_alarms_are_text_to_every_chat(attacked: Attacked) -> None:
    """No control, no link, no call to everyone; three lines for each cause."""
    parts = attacked.world.parts
    messages = in_messages(parts, alarms_now(parts))
    texts = [text for message in messages for text in (message.title, message.body)]

    assert any("60002" in text for text in texts)
    for text in texts:
        assert visible(text) == text
        assert not set("<>@") & set(text)
        assert "\n" not in text or text.count("\n→ ") == text.count("\nWhose move: ")


ATTACKS = (
    *("create table t (a int)", "create temp table t (a int)", "create schema s"),
    *("create view v as select 1", "create macro m() as 1", "create sequence q"),
    "create secret (type s3, key_id 'x', secret 'y')",
    *("insert into push_loss from push_loss", "update push_loss set err_count = 1"),
    *("delete from push_loss", "truncate push_loss", "drop table push_loss"),
    *("alter table push_loss add column c int", "comment on table push_loss is 'x'"),
    "merge into push_loss using apps on true when matched then delete",
    "insert into push_loss from push_loss returning app",
    *("checkpoint", "force checkpoint", "vacuum", "analyze", "begin", "commit"),
    *("copy push_loss to '{folder}/o.csv'", "copy push_loss from '{secret}'"),
    *("copy (select 1) to '/dev/stdout'", "copy from database warehouse to memory"),
    *("export database '{folder}/out'", "import database '{folder}'"),
    "explain analyze copy push_loss to '{folder}/o.csv'",
    "explain analyze insert into push_loss from push_loss",
    *("attach ':memory:' as m", "attach '{folder}/other.duckdb'", "detach memory"),
    *("attach '{secret}' as s (type sqlite)", "use memory", "detach warehouse"),
    *(
        "from '{secret}'",
        "from '{secret}.csv'",
        "from '{other}'",
        "from glob('/etc/*')",
    ),
    *("from read_text('{secret}')", "from read_blob('{secret}')"),
    *("from read_csv('{secret}')", "from sniff_csv('{secret}')"),
    *("from read_json('{secret}')", "from read_ndjson_objects('{secret}')"),
    *("from read_parquet('{secret}')", "from parquet_metadata('{secret}')"),
    *("from read_duckdb('{other}')", "from sqlite_scan('{secret}', 't')"),
    *("from query('from ''{secret}''')", "from query_table('{secret}')"),
    "from query('copy push_loss to ''{folder}/o.csv''')",
    "from json_execute_serialized_sql(json_serialize_sql('from ''{secret}'''))",
    *("from '{url}/x.csv'", "from read_text('{url}/x')", "from '{url}/x.parquet'"),
    *("from 's3://b/x.parquet'", "from 'hf://datasets/x/y.csv'"),
    *("install httpfs", "force install httpfs from '{url}'", "load httpfs"),
    *("load '{folder}/x.duckdb_extension'", "update extensions"),
    *("set enable_external_access = true", "reset enable_external_access"),
    *("set lock_configuration = false", "reset lock_configuration"),
    *("set global allowed_paths = ['{secret}']", "set allowed_directories = ['/']"),
    *("set python_enable_replacements = true", "set python_scan_all_frames = true"),
    *("set temp_directory = '{folder}/tmp'", "set log_query_path = '{folder}/q.log'"),
    *("set home_directory = '{folder}'", "set secret_directory = '{folder}'"),
    *("set memory_limit = '1TB'", "set file_search_path = '/etc'", "set threads = 99"),
    *("pragma memory_limit = '1TB'", "pragma enable_profiling = 'json'"),
    *("pragma profiling_output = '{folder}/p.json'", "pragma disable_verification"),
    "pragma import_database('{folder}')",
    *("call enable_logging(storage = 'file', storage_path = '{folder}')", "load json"),
    *("set variable x = 1", "prepare p as select 1", "execute p", "call checkpoint()"),
    *("select getenv('PUSHLOSS_SECRET_APP_0000')", "from duckdb_secrets()"),
    *("from which_secret('s3://b', 's3')", "from duckdb_extensions()"),
    *("from parts", "from self", "from statement", "from parsed", "from FOREIGN"),
    *("from arrow_scan(1, 2, 3)", "from arrow_scan(null, null, null)"),
    *("from pandas_scan(1)", "from python_map_function(1)"),
    *("select 1; select 2", "select 1; attach '{other}'", "", ";", "/* nothing */"),
)
HARMLESS = (
    "from enable_logging(storage = 'file', storage_path = '{folder}/logs')",
    "from enable_profiling(format = 'json', save_location = '{folder}/p.json')",
    *("from checkpoint('warehouse')", "select write_log('x')", "show databases"),
    *("explain analyze from push_loss", "pragma database_list", "describe push_loss"),
    *("summarize push_loss", "from duckdb_settings()", "show all tables"),
)
"""Answered, but nothing comes of them."""


@pytest.mark.parametrize(
    "attacks", [ATTACKS, HARMLESS], ids=["refused", "without effect"]
)
def test_a_query_reaches_nothing_but_the_file(
    tmp_path: Path, attacks: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It writes nowhere, reads no other file or variable, and calls nobody."""
    data = tmp_path / "data"
    data.mkdir()
    make_database(data / "warehouse.duckdb", "create table push_loss (app text)")
    make_database(tmp_path / "other.duckdb", "create table t as select 'hunter2'")
    for ending in ("", ".csv", ".json", ".parquet"):
        (tmp_path / f"secret{ending}").write_text("hunter2\n")
    monkeypatch.setenv("PUSHLOSS_SECRET_APP_0000", "hunter2")
    monkeypatch.chdir(tmp_path)
    before = contents(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        places = {
            "folder": str(tmp_path),
            "secret": str(tmp_path / "secret"),
            "other": str(tmp_path / "other.duckdb"),
            "url": f"http://127.0.0.1:{listener.getsockname()[1]}",
        }
        answers = {each: asked(data, each.format(**places)) for each in attacks}
        assert [] == heard(listener)

    answered = {each for each, answer in answers.items() if answer is not None}
    assert set() == {e for e, answer in answers.items() if "hunter2" in str(answer)}
    assert answered == (set() if attacks is ATTACKS else set(attacks))
    assert before == contents(tmp_path)


def asked(folder: Path, statement: str) -> object:
    """What a query answers; None where it is refused, in words of ours."""
    try:
        return Warehouse(folder).query(statement).rows
    except PushLossError:
        return None


def make_database(path: Path, statement: str) -> None:
    """A database with one table."""
    with duckdb.connect(path) as connection:
        connection.execute(statement)


def contents(folder: Path) -> dict[Path, tuple[int, bytes]]:
    """Each file with the time of its last change and what it holds."""
    return {
        path: (path.stat().st_mtime_ns, path.read_bytes())
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize(
    "endless",
    [
        "select count(*) from range(100000000000000) as n(i) where hash(i) = 1",
        "with recursive r as (select 1 as a union all select a from r) from r",
    ],
    ids=["filter", "recursion"],
)
def test_an_endless_query_ends_on_ctrl_c(attacked: Attacked, endless: str) -> None:
    """It takes memory and time only as long as somebody waits for it."""
    interrupt = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
    interrupt.start()

    with pytest.raises(KeyboardInterrupt):
        attacked.world.rows(endless)


OPEN_TO_ALL = {
    ".": 0o755,
    "warehouse.duckdb": 0o444,
    "report": 0o755,
    "report/index.html": 0o644,
}


def test_others_find_the_published_files_and_nothing_else() -> None:
    """Whatever the umask, all else belongs to the user who runs the pipeline."""
    with tempfile.TemporaryDirectory() as name, a_world(Path(name)) as world:
        folder = Path(name)
        folder.chmod(0o755)
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([__name__])
        loading = context.Process(target=load_as_a_user, args=(folder, world.now))
        loading.start()
        loading.join()
        modes = {
            str(path.relative_to(world.data)): stat.S_IMODE(path.stat().st_mode)
            for path in (world.data, *world.data.rglob("*"))
        }
        receiver, sender = context.Pipe(duplex=False)
        reading = context.Process(target=read_as_a_stranger, args=(world.data, sender))
        reading.start()
        sender.close()  # else nobody would be told that the other end broke off
        read = receiver.recv()
        reading.join()

    assert (0, 0) == (loading.exitcode, reading.exitcode)
    assert OPEN_TO_ALL == {path: mode for path, mode in modes.items() if mode & 0o077}
    assert len(modes) > 20
    if os.getuid() == 0:  # only root can become a stranger
        assert {"warehouse.duckdb": True, "report/index.html": True} == read


def load_as_a_user(folder: Path, now: datetime) -> None:
    """Load a day with the usual umask, as `pushloss load` does."""
    os.umask(0o022)
    for app in THREE_APPS:
        os.environ[secret_variable(app)] = app.secret_key
    settings = read_settings(folder / "pushloss.toml")
    parts = open_parts(settings, clock=lambda: now)
    load_days(parts, settings.select(), [date(2026, 3, 11)])
    publish(parts)
    write_report(parts)


def read_as_a_stranger(data: Path, sender: Connection) -> None:
    """Tell which files of the folder another user can open, and write none."""
    paths = [path for path in data.rglob("*") if path.is_file()]
    if os.getuid() == 0:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
    found = {str(p.relative_to(data)): True for p in paths if os.access(p, os.R_OK)}
    assert not any(os.access(p, os.W_OK) for p in paths) or os.getuid() != 65534
    assert Warehouse(data).query("select count(*) from push_loss").rows > ((0,),)
    sender.send(found)


def test_the_report_runs_nothing(attacked: Attacked, browser: Browser) -> None:
    """In a browser the vendor's texts are text: no script, no request, no dialog."""
    path = write_report(attacked.world.parts).path
    page = browser.new_page()
    troubles = watched(page)
    page.goto(path.as_uri())
    page.wait_for_selector("article:not([hidden]) [data-chart][data-drawn]")
    for number in range(page.locator("#app option").count()):
        page.get_by_label("App", exact=True).select_option(str(number))
    cells = set(page.locator("td").evaluate_all("(c) => c.map((e) => e.textContent)"))
    scripts = page.locator("script").count()
    pwned = page.evaluate("[window.pwned, window.violations.size]")
    page.close()

    shown = {name for name, text in FOREIGN.items() if visible(text) in cells}
    assert shown == set(FOREIGN)
    assert [] == troubles
    assert [None, 0] == pwned
    assert 3 == scripts


def watched(page: Page) -> list[str]:
    """All that a page does beside being shown: what it asks, says, opens, breaks."""
    troubles: list[str] = []
    asked: list[str] = []
    page.add_init_script(
        "window.violations = new Set();"
        "addEventListener('securitypolicyviolation', (event) =>"
        " window.violations.add(event.effectiveDirective));"
    )
    page.on("request", lambda request: asked.append(request.url))
    page.on("request", lambda request: troubles.extend(asked[1:]))
    page.on("dialog", lambda dialog: troubles.append(dialog.message))
    page.on("console", lambda message: troubles.append(message.text))
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("popup", lambda popup: troubles.append(popup.url))
    return troubles


HOLES = (
    "<script>window.pwned=1</script><button onclick=window.pwned=1></button>"
    "<img src={url}/x onerror=window.pwned=1><style>body{{color:red}}</style>"
    "<base href={url}/><iframe src={url}/></iframe><script src={url}/></script>"
    "<form id=form action={url}/></form>"
)


def test_the_policy_of_the_report_stops_what_gets_in(
    attacked: Attacked, browser: Browser
) -> None:
    """Were a text ever taken for a part of the page, the browser would refuse it."""
    path = write_report(attacked.world.parts).path
    planted = path.with_name("planted.html")
    page = browser.new_page()
    watched(page)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        holes = HOLES.format(url=f"http://127.0.0.1:{listener.getsockname()[1]}")
        text = path.read_text(encoding="utf-8")
        assert "</main>" in text
        planted.write_text(text.replace("</main>", f"{holes}</main>"), encoding="utf-8")
        page.goto(planted.as_uri())
        page.evaluate("document.querySelector('#form').submit()")
        page.wait_for_function("window.violations.size === 7")
        requests = heard(listener)
    pwned = page.evaluate("window.pwned")
    page.close()

    assert (None, []) == (pwned, requests)


def heard(listener: socket.socket) -> list[bytes]:
    """What came to a port; Chromium connects ahead of a form, and asks nothing."""
    requests = []
    while True:
        try:
            caller, _ = listener.accept()
        except BlockingIOError:
            return requests
        with caller, suppress(BlockingIOError):
            caller.setblocking(False)
            requests += [caller.recv(4096)]
