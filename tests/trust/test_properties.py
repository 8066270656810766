"""Whatever comes in from outside is read right or refused in our own words."""

import asyncio
import base64
import codecs
import csv
import io
import json
import os
import random
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import astuple
from datetime import UTC, date, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import httpx
import pytest
from hypothesis import strategies as st

from pushloss_pipeline.adapters.delta_log import DeltaLog
from pushloss_pipeline.adapters.receiving import (
    MAX_RETRY_AFTER_SECONDS,
    Timeouts,
    receive,
)
from pushloss_pipeline.cli import main
from pushloss_pipeline.domain.catalogue import (
    COLUMNS,
    Category,
    KnownCode,
    Owner,
)
from pushloss_pipeline.domain.errors import BadPayload, ConfigurationError
from pushloss_pipeline.domain.flatten import flatten
from pushloss_pipeline.domain.model import PLATFORM_NAMES, LossRow
from pushloss_pipeline.domain.parse import parse_report, read_status
from pushloss_pipeline.domain.verdict import State, judge_all
from pushloss_pipeline.domain.window import day_bounds
from pushloss_pipeline.settings import read_settings
from pushloss_pipeline.simulator.scenario import Scenario, many_apps
from pushloss_pipeline.simulator.server import SimulatorHandle, running
from pushloss_pipeline.upkeep import examine
from tests.builders import an_answer
from tests.trust.made_up import Trial
from tests.trust.reliability import tell
from tests.world import World, another_world, secret_variable

ANSWERS = "valid answers, in every envelope that the vendor's page may mean"
STORED = "valid answers and any bodies, six app days at a time"
BODIES = "bodies: any bytes, damaged answers, JSON of any shape and depth"
CODES = "`error_codes.csv`: any bytes, and rows as a spreadsheet writes them"
FILES = "`pushloss.toml`: any bytes, and odd values under any key"
HEADERS = "`Retry-After`: any header"
LOGS = "files of a Delta log: any bytes"
DAYS = "days on the command line: any text"
PROMISES = {
    ANSWERS: "the rows are its losses, none lost or invented, in whatever order; where"
    " a scope adds up to more than a BIGINT, it is refused",
    STORED: "loaded and published, `push_loss` holds the losses; each body is kept as"
    " received; the doctor finds nothing",
    BODIES: "read, or refused in few words with their place; the day has a state",
    CODES: "read cell by cell, or the mistake is told with the file's name",
    FILES: "read, and every value works; or the mistake is told with the file's name",
    HEADERS: "the wait is from 0 s to 120 s",
    LOGS: "what is wrong is found; what can be mended is gone after two mendings",
    DAYS: "nothing is accepted; the exit code is 2",
}

Read = TypeVar("Read")
WIDEST = 2**63 - 1
APPS = many_apps(2, seed=7)
ARRAYS = {
    "ReadyToSendLoss": ("ready_to_send", "overall"),
    "PostSendDeliveredLoss": ("post_send_delivered", "overall"),
    "PlatformReadyToSendLoss": ("ready_to_send", "platform"),
    "PlatformPostSendDeliveredLoss": ("post_send_delivered", "platform"),
}
"""The vendor's names, and what they mean."""

AWKWARD = (
    *("", " ", "'", '"', "\\", "--", "'); drop table push_loss; --", "%s {} $1"),
    *("<script>alert(1)</script>", "&lt;", "[red]x[/]", "\x1b[31m", "null", "None"),
    *("\0", "\r\n", "\t", "\x7f", "\x85", "\u2028", "\u2029", "\u202e", "\ufeff"),
    *("证书未配置", "e\u0301", "\U0001f4f1", "\ufffe", "-1", "007", "1e5", "x" * 5000),
)
texts = st.sampled_from(AWKWARD) | st.text(
    st.characters(exclude_categories=["Cs"]), max_size=8
)
counts = (
    st.integers(0, 9)
    | st.integers(0, WIDEST)
    | st.sampled_from([2**31, 2**53 + 1, WIDEST // 4, WIDEST - 1, WIDEST])
)
codes = st.sampled_from(["-1", "-2", "410", "BadDeviceToken"]) | texts
names = st.sampled_from(
    [
        *(*ARRAYS, "ActionStatus", "ErrorCode", "ErrorInfo", "ResultCode", "Results"),
        *("PushPlatform", "ErrCode", "ErrCount", "ErrInfo", "Foo"),
    ]
)


def json_of(
    keys: st.SearchStrategy[str], numbers: st.SearchStrategy[object]
) -> st.SearchStrategy[object]:
    """JSON of any shape; texts may hold half a surrogate pair."""
    scalars = st.sampled_from([None, True, "OK", "0", 0]) | numbers
    return st.recursive(
        scalars | st.text(st.characters(), max_size=5),
        lambda below: (
            st.lists(below, max_size=4) | st.dictionaries(keys, below, max_size=4)
        ),
        max_leaves=12,
    )


trees = json_of(names, st.integers() | st.floats())
harmless = json_of(
    st.sampled_from(["a", "b", ""]),
    st.integers() | st.floats(allow_nan=False, allow_infinity=False),
)
unknown = st.dictionaries(st.sampled_from(["TaskID", "x", "平台", 'a"b']), harmless)


def reading(
    read: Callable[..., Read], *given: object, refused_by: type[Exception]
) -> tuple[Read | None, str]:
    """What was read, or else the words of the refusal."""
    try:
        return read(*given), ""
    except refused_by as refusal:
        return None, str(refusal)


def as_bytes(answer: object) -> bytes:
    """The answer as the API would send it, half surrogate pairs and all."""
    return json.dumps(answer).encode()


@st.composite
def entries(draw: st.DrawFn, *, has_platform: bool) -> dict[str, Any]:
    """An entry of an array, as the page describes it or a little off."""
    count = draw(counts)
    entry: dict[str, Any] = {
        "ErrCode": draw(codes | st.integers(-5, 5)),
        "ErrCount": draw(st.sampled_from([count, count, count, str(count)])),
    }
    if draw(st.integers(0, 9)):
        entry["ErrInfo"] = draw(texts | st.none())
    if has_platform and draw(st.integers(0, 9)):
        platform = draw(st.integers(0, 8) | st.integers(0, 2**31 - 1))
        entry["PushPlatform"] = draw(st.sampled_from([platform, platform, None]))
    return entry | (draw(unknown) if not draw(st.integers(0, 9)) else {})


@st.composite
def valid_answers(draw: st.DrawFn) -> bytes:
    """An OK answer, its arrays wherever the page may have meant them."""
    arrays: dict[str, Any] = {
        name: draw(st.lists(entries(has_platform=scope == "platform"), max_size=5))
        for name, (_, scope) in ARRAYS.items()
    }
    for name in draw(st.lists(st.sampled_from(list(ARRAYS)), max_size=3, unique=True)):
        arrays[name] = None
        if draw(st.booleans()):
            del arrays[name]
    holder: object = arrays | draw(unknown)
    key = draw(st.sampled_from([None, "Results", "Data", "", "Results[0]"]))
    if key is not None and draw(st.booleans()):
        holder = [holder]
    head = {"ActionStatus": "OK", "ErrorCode": draw(st.sampled_from([0, 0, "0"]))}
    head |= draw(st.sampled_from([{}, {"ErrorInfo": "sucess"}, {"ResultCode": 0}]))
    body = as_bytes(head | (holder if key is None else {key: holder}))
    return draw(st.sampled_from([b"", b"", codecs.BOM_UTF8])) + body


def holder_of(answer: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Where the arrays are, and the object that holds them."""
    if set(answer) & set(ARRAYS):
        return "top", answer
    for key, value in answer.items():
        is_list = isinstance(value, list) and len(value) == 1
        inner = value[0] if is_list else value
        if isinstance(inner, dict) and set(inner) & set(ARRAYS):
            path = key if key == "Results" else f"$.{key}"
            path = path if key.isalpha() else f'$["{key}"]'
            return path + "[0]" * is_list, inner
    raise AssertionError("no arrays")


def losses_in(body: bytes) -> dict[tuple[str, str, int | None, str], int]:
    """Count by stage, scope, platform and code, read off the JSON without a thought."""
    _, holder = holder_of(json.loads(body.removeprefix(codecs.BOM_UTF8)))
    sums: dict[tuple[str, str, int | None, str], int] = {}
    for name, (stage, scope) in ARRAYS.items():
        for entry in holder.get(name) or []:
            platform = entry.get("PushPlatform") or 0
            is_platform = scope == "platform"
            key = (
                stage,
                scope,
                platform if is_platform else None,
                str(entry["ErrCode"]),
            )
            sums[key] = sums.get(key, 0) + int(entry["ErrCount"])
    return sums


def texts_in(body: bytes) -> dict[tuple[str, str, int | None, str], set[str | None]]:
    """The texts of the entries of each key that count most."""
    _, holder = holder_of(json.loads(body.removeprefix(codecs.BOM_UTF8)))
    told: dict[Any, dict[int, set[str | None]]] = {}
    for name, (stage, scope) in ARRAYS.items():
        for entry in holder.get(name) or []:
            platform = entry.get("PushPlatform") or 0 if scope == "platform" else None
            by_count = told.setdefault(
                (stage, scope, platform, str(entry["ErrCode"])), {}
            )
            by_count.setdefault(int(entry["ErrCount"]), set()).add(entry.get("ErrInfo"))
    return {key: by_count[max(by_count)] for key, by_count in told.items()}


def fits(body: bytes) -> bool:
    """Whether the losses of either scope can be counted in a BIGINT."""
    totals: Counter[str] = Counter()
    for (_, scope, _, _), count in losses_in(body).items():
        totals[scope] += count
    return all(total <= WIDEST for total in totals.values())


def oddities_in(body: bytes) -> set[str]:
    """The kinds of warning that this valid answer deserves."""
    answer = json.loads(body.removeprefix(codecs.BOM_UTF8))
    path, holder = holder_of(answer)
    known = {"ActionStatus", "ErrorCode", "ErrorInfo", "ResultCode"}
    found = {"unknown_field"} if path != "top" and set(holder) - set(ARRAYS) else set()
    if path == "top" and set(answer) - known - set(ARRAYS):
        found.add("unknown_field")
    if answer["ErrorCode"] == "0":
        found.add("text_number")
    if any(holder.get(name) is None for name in ARRAYS):
        found.add("missing_array")
    for name, (_, scope) in ARRAYS.items():
        keys = []
        for entry in holder.get(name) or []:
            fields = {"ErrCode", "ErrCount", "ErrInfo"}
            fields |= {"PushPlatform"} if scope == "platform" else set()
            platform = entry.get("PushPlatform") if scope == "platform" else 0
            keys.append((platform or 0, str(entry["ErrCode"])))
            found |= {"unknown_field"} if set(entry) - fields else set()
            found |= {"text_number"} if isinstance(entry["ErrCount"], str) else set()
            is_missing = entry.get("ErrInfo") is None or platform is None
            found |= {"missing_field"} if is_missing else set()
            found |= {"unknown_platform"} if (platform or 0) > 8 else set()
        found |= {"duplicate_row"} if len(set(keys)) < len(keys) else set()
    return found


def shuffled(body: bytes) -> bytes:
    """The same answer with its entries, and all its fields, in another order."""
    chance = random.Random(len(body))

    def turned(value: Any) -> Any:
        if isinstance(value, dict):
            items = [(key, turned(inner)) for key, inner in value.items()]
            chance.shuffle(items)
            return dict(items)
        if isinstance(value, list):
            return chance.sample([turned(inner) for inner in value], len(value))
        return value

    return as_bytes(turned(json.loads(body.removeprefix(codecs.BOM_UTF8))))


def key_of(row: LossRow) -> tuple[str, str, int | None, str]:
    """What makes a row unique."""
    return row.stage.value, row.scope.value, row.platform_id, row.err_code


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A valid answer that something happened to."""
    body = draw(valid_answers())
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(body)))
        end = draw(st.integers(start, min(len(body), start + 20)) | st.just(len(body)))
        put = draw(
            st.binary(max_size=4)
            | st.sampled_from(
                [body[start:end] * 2, b"9" * 5000, b"1e999", b"-0", b"NaN"]
            )
            | st.sampled_from([b"\xff", b"\xed\xa0\x80", b"\\ud800", b"\0", b'"', b"["])
        )
        body = body[:start] + put + body[end:]
    return body


def nested(opening: bytes, closing: bytes, depth: int) -> bytes:
    """An OK answer with a field that goes so deep."""
    return b'{"ActionStatus": "OK", "ErrorCode": 0, "ReadyToSendLoss": [], "x": %s}' % (
        opening * depth + b"0" + closing * depth
    )


bodies = (
    st.binary()
    | valid_answers()
    | damaged()
    | trees.map(as_bytes)
    | st.builds(
        lambda head, tree: as_bytes(
            {"ActionStatus": "OK", "ErrorCode": 0} | head | tree
        ),
        st.dictionaries(names, trees, max_size=2),
        st.dictionaries(names, trees, max_size=4),
    )
    | st.builds(
        nested,
        st.sampled_from([b"[", b'{"a":', b"[[],"]),
        st.sampled_from([b"]", b"}"]),
        st.integers(0, 3000),
    )
    | st.builds(
        lambda body, encoding: body.decode().encode(encoding),
        trees.map(as_bytes),
        st.sampled_from(["utf-8-sig", "utf-16", "utf-32", "utf-16-le"]),
    )
    | st.integers(1, 6000).map(lambda length: b'{"ErrorCode": %s}' % (b"9" * length))
)


@pytest.fixture(scope="module")
def tally() -> Counter[str]:
    """Examples tried in this file, by what was tried."""
    return Counter()


@pytest.fixture(params=["few", pytest.param("many", marks=pytest.mark.slow)])
def trial(request: pytest.FixtureRequest, tally: Counter[str]) -> Trial:
    """Few examples, the same ones everywhere; in a long run many others."""
    return Trial(tally, is_long=request.param == "many")


@pytest.fixture(scope="module")
def simulator() -> Iterator[SimulatorHandle]:
    """One simulator for all worlds of this file."""
    with (
        pytest.MonkeyPatch.context() as environment,
        running(Scenario(7, APPS), calls_per_second=None) as handle,
    ):
        for app in APPS:
            environment.setenv(secret_variable(app), app.secret_key)
        yield handle


def test_losses_in_are_losses_out(trial: Trial) -> None:
    """An answer's rows are its losses, none lost or invented, in whatever order."""

    @trial.holds(ANSWERS, valid_answers(), few=150, many=5_000)
    def losses_are_kept(body: bytes) -> None:
        if not fits(body):
            with pytest.raises(BadPayload, match="add up to"):
                flatten(parse_report(body))
            return
        report = parse_report(body)
        rows, oddities = flatten(report)
        kinds = {text.partition(":")[0] for text in (*report.warnings, *oddities)}
        other_rows, _ = flatten(parse_report(shuffled(body)))

        assert losses_in(body) == {key_of(row): row.err_count for row in rows}
        assert len(losses_in(body)) == len(rows)
        assert all(row.err_info in texts_in(body)[key_of(row)] for row in rows)
        assert rows == other_rows
        assert holder_of(json.loads(body.decode("utf-8-sig")))[0] == report.envelope
        assert oddities_in(body) == kinds


def test_bodies(trial: Trial) -> None:
    """Any body makes a day's state; a refusal is short, has a place and can be kept."""

    @trial.holds(BODIES, bodies, few=300, many=4_000)
    def body_is_read_or_refused(body: bytes) -> None:
        status = read_status(body)
        texts, refusal = reading(texts_of, body, refused_by=BadPayload)
        (entry,) = judge_all(None, [an_answer(1, body)])

        assert len((status.error_info or "").encode()) < 5000
        assert len("".join(texts or ()).encode()) < 20_000
        assert refusal == "" or re.search(r" \(at .+\)$", refusal, re.DOTALL)
        assert len(refusal.encode()) < 2000
        assert (entry.state in (State.LOADED, State.EMPTY)) == (refusal == "")


def texts_of(body: bytes) -> list[str]:
    """All that is told of an answer beside its rows."""
    report = parse_report(body)
    _, oddities = flatten(report)
    return [report.envelope, *report.warnings, *oddities]


days_of_answers = st.lists(
    st.tuples(valid_answers(), st.none() | bodies), min_size=6, max_size=6
)


def test_answers_in_the_tables(trial: Trial, simulator: SimulatorHandle) -> None:
    """What is published is what the stored answers say; the doctor finds nothing."""

    @trial.holds(STORED, days_of_answers, few=4, many=40)
    def tables_tell_the_answers(made: list[tuple[bytes, bytes | None]]) -> None:
        with TemporaryDirectory() as folder:
            world = another_world(simulator, Path(folder), APPS)
            days = world.days[-3:]
            keys = [(name, day) for name in world.names for day in days]
            bodies_told = {
                key: valid if other is None else other
                for key, (valid, other) in zip(keys, made, strict=True)
            }
            losses = {
                key: losses_in(valid)
                for key, (valid, other) in zip(keys, made, strict=True)
                if other is None and fits(valid)
            }
            world.simulator.script(
                [
                    {
                        "sdk_app_id": world.number_of(name),
                        "day": str(day),
                        "body_base64": base64.b64encode(body).decode(),
                        "times": None,
                    }
                    for (name, day), body in bodies_told.items()
                ]
            )
            world.load(days=days)

            assert losses == {key: published(world, *key) for key in losses}
            assert bodies_told == {key: world.answers(*key)[-1].body for key in keys}
            findings = examine(world.parts, repair=False)
            assert [] == [fault for finding in findings for fault in finding.wrong]


def published(
    world: World, name: str, day: date
) -> dict[tuple[str, str, int | None, str], int]:
    """What push_loss holds of a day, in the shape of `losses_in`."""
    rows = world.rows(
        "select stage, scope, platform_id, err_code, err_count from push_loss"
        " where app = $app and loss_date = $day",
        app=name,
        day=day,
    )
    found = {row[:4]: row[4] for row in rows}
    assert len(found) == len(rows)
    return found


known_codes = st.builds(
    KnownCode,
    stage=st.sampled_from(["", "ready_to_send", "post_send_delivered"]),
    platform=st.sampled_from(["", *PLATFORM_NAMES.values(), "platform_9"]),
    err_code=texts.filter(str.strip),
    meaning=texts.filter(str.strip),
    category=st.sampled_from([*Category]).map(str),
    owner=st.sampled_from([*Owner]).map(str),
    action=texts.filter(str.strip),
    source=texts,
)


def in_csv(codes: list[KnownCode]) -> bytes:
    """The codes as a spreadsheet writes them."""
    file = io.StringIO()
    csv.writer(file).writerows([COLUMNS, *map(astuple, codes)])
    return file.getvalue().encode()


catalogues = (
    st.binary()
    | st.text(st.sampled_from('",\r\n\0 a')).map(
        lambda text: in_csv([]) + text.encode()
    )
    | st.lists(known_codes, max_size=3, unique_by=lambda code: code.key).map(in_csv)
)


def test_own_codes(trial: Trial, tmp_path: Path) -> None:
    """A user's catalogue is read cell by cell, or the mistake is told."""
    path = tmp_path / "error_codes.csv"

    @trial.holds(CODES, catalogues, few=150, many=2_000)
    def catalogue_is_read_or_refused(text: bytes) -> None:
        path.write_bytes(text)
        codes, mistake = reading(own_codes, path, refused_by=ConfigurationError)
        if codes is not None:
            file = io.StringIO(text.decode("utf-8-sig"), newline=None)
            _, *rows = csv.reader(file)
            cells = [tuple(cell.strip() for cell in row) for row in rows if row]

            assert cells == [astuple(code) for code in codes]
        assert (codes is None) == mistake.startswith(str(path))


def own_codes(path: Path) -> tuple[KnownCode, ...]:
    """The user's codes, as they are read to be published."""
    configuration = path.with_name("pushloss.toml")
    configuration.write_bytes(in_toml({}))
    return read_settings(configuration).own_codes()


toml_values = st.sampled_from(
    [
        *("''", "'a'", '"\\u0000"', "'http://[x'", "'https://h'", "'https://h:99999'"),
        *("0", "-1", "1e400", "nan", "inf", "9" * 30, "9" * 5000, "0x" + "f" * 99),
        *("true", "[]", "{}", "[[1]]", "[" * 3000, "1979-05-27", "0001-01-01"),
        *(
            "'9999-12-31'",
            "1979-05-27T00:32:00-07:00",
            "07:32:00",
            "'10:30'",
            "'29:59'",
        ),
        *("'UTC'", "'Asia'", "'zone.tab'", "'../x'", "'s3://b'", "'file:///x'"),
        *('"""', "'A_KEY'", "{ region = 'china' }", "1400000001"),
    ]
)
toml_keys = st.sampled_from(
    [
        *("timezone", "data_dir", "retention_days", "calls_per_second", "start_date"),
        *("schedule_time", "alarm_url_env", "report_url", "apps", "config_path", "x"),
        *("apps.a.sdk_app_id", "apps.a.region", "apps.a.endpoint", "apps.a.identifier"),
        *("apps.a.secret_key_env", 'apps."\\u202e"', 'apps."".region', "a" * 70),
    ]
)
toml_lines = st.dictionaries(toml_keys, toml_values, max_size=4)
GOOD_TOML = {
    "start_date": "2026-01-01",
    "apps.a.sdk_app_id": "1",
    "apps.a.region": "'china'",
    "apps.a.identifier": "'admin'",
    "apps.a.secret_key_env": "'A_KEY'",
}


def in_toml(lines: dict[str, str]) -> bytes:
    """A configuration that would do, but for these lines."""
    told = (f"{key} = {value}" for key, value in (GOOD_TOML | lines).items())
    return "\n".join(told).encode()


configurations = st.binary() | st.text().map(str.encode) | toml_lines.map(in_toml)


def test_configurations(trial: Trial, tmp_path: Path) -> None:
    """A configuration is read, with values that work, or its mistake is told."""
    path = tmp_path / "pushloss.toml"

    @trial.holds(FILES, configurations, few=150, many=4_000)
    def configuration_is_read_or_refused(content: bytes) -> None:
        path.write_bytes(content)
        settings, mistake = reading(read_settings, path, refused_by=ConfigurationError)
        if settings is not None:
            day_bounds(settings.start_date, settings.timezone, settings.retention_days)
            settings.local_dir.exists()

            assert all(app.base_url for app in settings.apps.values())
        assert (settings is None) == mistake.startswith(str(path))


moments = st.sampled_from(
    [
        *("Mon", "Tue,", "Wed, ", "0", "31 ", "32", "Jan ", "Feb", "2026 ", "99999 "),
        *(
            "1 ",
            "00:00:00",
            "12:61",
            ":",
            "23:59:60 ",
            "GMT",
            "+9999",
            "-0000",
            "-2400",
        ),
        *(" ", ",", "-", "(", ")", '"', "\xe9", "\xb2", "9" * 5000),
    ]
)


def test_retry_after(trial: Trial) -> None:
    """Whatever a server asks to wait for, the wait is from none to two minutes."""
    now = datetime(2026, 3, 12, tzinfo=UTC)

    async def received(header: bytes) -> float:
        answer = httpx.Response(
            429, headers=[(b"Retry-After", header)], stream=httpx.ByteStream(b"")
        )
        async with httpx.AsyncClient(
            transport=httpx.MockTransport(lambda request: answer)
        ) as http:
            return (
                await receive(
                    http.build_request("POST", "http://127.0.0.1/"),
                    http=http,
                    time_limit=asyncio.timeout(None),
                    timeouts=Timeouts(),
                    clock=lambda: now,
                )
            ).retry_after_seconds

    headers = st.binary() | st.lists(moments).map("".join).map(
        lambda text: text.encode("latin-1")
    )

    @trial.holds(HEADERS, headers, few=100, many=2_000)
    def wait_is_bounded(header: bytes) -> None:
        assert 0 <= asyncio.run(received(header)) <= MAX_RETRY_AFTER_SECONDS


log_files = st.dictionaries(
    st.sampled_from(
        [
            *(f"{version:020d}.json" for version in range(4)),
            "00000000000000000002.checkpoint.parquet",
            *("_last_checkpoint", "x.json", "00000000000000000001.json.tmp"),
        ]
    ),
    st.binary()
    | trees.map(as_bytes)
    | st.sampled_from([b"", b"[" * 5000, b"{}", b"[1]\n", b'{"a": "\xe2\x80\xa8"}\n'])
    | st.sampled_from([b'{"version": [1]}', b'{"version": 2}', b"9" * 5000, b"PAR1"]),
)


def test_delta_logs(trial: Trial) -> None:
    """A look at a log finds what is wrong, whatever its files hold, and mends that."""

    @trial.holds(LOGS, log_files, few=100, many=1_000)
    def log_is_looked_at(files: dict[str, bytes]) -> None:
        with TemporaryDirectory() as folder:
            log = Path(folder) / "table" / "_delta_log"
            log.mkdir(parents=True)
            for name, content in files.items():
                (log / name).write_bytes(content)
            for _ in range(2):  # an entry put in place makes a checkpoint mendable
                DeltaLog(log.parent).mend(DeltaLog(log.parent).faults())
            left = DeltaLog(log.parent).faults()

            assert [] == [fault for fault in left if fault.is_mendable]


def test_days_on_the_command_line(
    trial: Trial, simulator: SimulatorHandle, tmp_path: Path, monkeypatch: Any
) -> None:
    """Whatever is given as a day, the command ends with words, not with a traceback."""
    another_world(simulator, tmp_path, APPS)
    monkeypatch.setenv("PUSHLOSS_CONFIG", str(tmp_path / "pushloss.toml"))
    some_text = st.text(st.characters(min_codepoint=1, exclude_categories=["Cs"]))
    in_arguments = st.binary().map(lambda raw: os.fsdecode(raw.replace(b"\0", b"")))

    @trial.holds(DAYS, some_text | in_arguments | odd_days, few=40, many=500)
    def day_is_refused(text: str) -> None:
        arguments = ["pushloss", "accept", "--app", APPS[0].name, "--", text]
        said = io.TextIOWrapper(io.BytesIO(), "utf-8", "backslashreplace")
        with monkeypatch.context() as process:
            process.setattr(sys, "argv", arguments)
            process.setattr(sys, "stderr", said)
            with pytest.raises(SystemExit) as ended:
                main()

        assert 2 == ended.value.code
        assert said.tell()


odd_days = st.dates().map(str) | st.sampled_from(
    [*AWKWARD, "20260311", "2026-W11-3", "2026-3-11", "٢٠٢٦-٠٣-١١", "0000-00-00"]
)


def test_told(tally: Counter[str]) -> None:
    """docs/reliability.md tells what was tried; it needs the whole file to be run."""
    assert set(PROMISES) == set(tally)
    tell(
        "properties",
        [
            {
                "made up": made,
                "what holds": promise,
                "examples": f"{tally[made]:,}",
                "failures": 0,
            }
            for made, promise in PROMISES.items()
        ],
        measured=["examples"],
    )
