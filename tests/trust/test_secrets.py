"""Secrets are planted wherever one could get out, and are found nowhere.

Each sink is reached in a real way; that it was reached is seen by a mark that is
planted beside each secret, and found.
"""

import base64
import json
import logging
import os
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagster as dg
import httpx
import pytest
from dagster._utils.error import serializable_error_info_from_exc_info

from pushloss_pipeline.adapters.alarm_channel import open_channel
from pushloss_pipeline.adapters.usersig import UserSigs
from pushloss_pipeline.alarming import alarms_now, in_messages
from pushloss_pipeline.cli import main
from pushloss_pipeline.defs.schedules import ask_again_schedule
from pushloss_pipeline.defs.sensors import alarm_sensor
from pushloss_pipeline.domain.alarm_texts import a_test
from pushloss_pipeline.domain.errors import ConfigurationError, StoreError
from pushloss_pipeline.domain.words import counted
from pushloss_pipeline.overview import day_statuses
from pushloss_pipeline.parts import open_parts
from pushloss_pipeline.reporting import write_report
from pushloss_pipeline.settings import Settings, read_settings
from pushloss_pipeline.simulator.scenario import DEMO_APPS
from pushloss_pipeline.steps import Parts
from tests.defs.site import Site, a_site, failure_of
from tests.receiver import closed_port
from tests.trust.planted import places, signature_within, spellings, tells
from tests.trust.reliability import tell
from tests.world import THREE_APPS, World, a_world, secret_variable

MARK = "PLANTED-HERE"
TOKEN = "T5CA1AB1E0DECAF0C0FFEE"
SIGS = UserSigs()
WORTHY = "key, usersig, TLS.sig"


@dataclass(frozen=True)
class Seen:
    """What a search after secrets were planted brought."""

    sink: str
    way: str
    what: str
    found: Sequence[str]
    reached: Sequence[str]
    """Where the mark is that was planted beside each secret."""

    def as_row(self) -> dict[str, object]:
        """A row of the page."""
        names = ("sink", "planted by", "planted", "found")
        row = (self.sink, self.way, self.what, len(self.found))
        return dict(zip(names, row, strict=True))


def every_spelling(secrets: Sequence[str]) -> list[str]:
    """Each secret in each spelling that is text."""
    texts = [
        spelling.decode()
        for secret in secrets
        for name, spelling in spellings(secret).items()
        if not name.startswith("UTF-16")
    ]
    return list(dict.fromkeys(texts))


SPELLINGS = len(spellings(TOKEN)) - 2
"""Ways to spell a secret as text; two more are UTF-16."""


def marked(secrets: Sequence[str]) -> str:
    """A text of all of them, as careless errors quote what they met."""
    return "\n".join(
        f"{MARK} {spelling} of https://a.example/v4?usersig={spelling}&x=1"
        for spelling in every_spelling(secrets)
    )


def secrets_of(world: World) -> list[str]:
    """What may not come out of a world, of its first app."""
    usersig = world.usersigs.current(world.asked_apps[0])
    return [world.apps[0].secret_key, usersig, signature_within(usersig)]


def a_loss_report(secrets: Sequence[str]) -> bytes:
    """An OK answer whose texts quote secrets, each as it is and as JSON escapes it."""
    texts = every_spelling(secrets)
    raw = [json.dumps(f"{MARK} {text}") for text in texts]
    for text in texts:
        try:
            json.loads(escaped := f'"{MARK} {text}"')
        except ValueError:
            continue
        raw.append(escaped)
    entries = ", ".join(
        f'{{"ErrCode": "{1000 + n}", "ErrCount": {5000 - n}, "ErrInfo": {text}}}'
        for n, text in enumerate(dict.fromkeys(raw))
    )
    fields = ["PlatformReadyToSendLoss", "ReadyToSendLoss"]
    empty = "".join(f'"{name}": [], ' for name in fields)
    return (
        f'{{"ActionStatus": "OK", "ErrorCode": 0, "ErrorInfo": "", {empty}'
        f'"PlatformPostSendDeliveredLoss": [], "PostSendDeliveredLoss": [{entries}]}}'
    ).encode()


# --- the record, what is published, the report, the alarms


@pytest.fixture(scope="module")
def after_answers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Seen]]:
    """A server that quotes our secrets in every part of its answers."""
    folder = tmp_path_factory.mktemp("answers")
    with pytest.MonkeyPatch.context() as patch:
        for app in THREE_APPS:
            patch.setenv(secret_variable(app), app.secret_key)
        with a_world(folder) as world:
            yield list(_answers(world))


def _answers(world: World) -> Iterator[Seen]:
    secrets = secrets_of(world)
    echo = marked(secrets)
    page = b"".join(
        f"<li>{MARK} ".encode() + spelling
        for secret in secrets
        for spelling in spellings(secret).values()
    )
    app = {"sdk_app_id": world.apps[0].sdk_app_id, "times": None}
    days = [str(day) for day in world.days]
    refusal = {"ErrorCode": 60002, "ActionStatus": "FAIL", "ErrorInfo": echo}
    world.simulator.script(
        [
            {**app, "day": days[-1], "body": a_loss_report(secrets).decode()},
            {**app, "day": days[-2], "body": json.dumps(refusal)},
            {
                **app,
                "day": days[-3],
                "http_status": 502,
                "body_base64": base64.b64encode(page).decode(),
            },
            {**app, "day": days[-4], "http_status": 302, "headers": _headers(secrets)},
        ]
    )
    outcomes = world.load()
    parts = world.parts
    write_report(parts)
    told = in_messages(parts, alarms_now(parts))
    said = {
        "outcomes of the load": outcomes,
        "state of the days (`status`)": day_statuses(parts, world.names),
        "alarms, title and text": told,
    }
    what = f"{WORTHY}, {SPELLINGS + 2} spellings"
    everywhere = places(world.folder, secrets)
    reached = places(world.folder, [MARK])
    for sink, where in (
        ("the record (Delta): bodies, error texts", "data/lake"),
        ("the published file", "data/warehouse.duckdb"),
        ("the report", "data/report"),
        ("all files of the data folder", "data"),
    ):
        yield Seen(
            sink,
            "answers: losses, errors, a page, headers",
            what,
            [place for place in everywhere if place.startswith(where)],
            [place for place in reached if place.startswith(where)],
        )
    for sink, value in said.items():
        yield _said(sink, "the same answers", what, repr(value), secrets)


def _headers(secrets: Sequence[str]) -> dict[str, str]:
    return {f"X-Echo-{n}": s for n, s in enumerate(secrets)} | {
        "Location": f"https://a.example/?usersig={secrets[-1]}",
        "Retry-After": secrets[0],
    }


def _said(sink: str, way: str, what: str, text: str, secrets: Sequence[str]) -> Seen:
    found = ["text"] if tells(text, secrets) else []
    return Seen(sink, way, what, found, ["text"] if tells(text, [MARK]) else [])


# --- Dagster: its event log, compute logs and ticks


class ToStderr(logging.Handler):
    """Shows all where a step's compute log takes it up."""

    def emit(self, record: logging.LogRecord) -> None:
        """As most programs do it."""
        print(self.format(record), file=sys.stderr, flush=True)


@contextmanager
def everything_logged() -> Iterator[None]:
    """All loggers at DEBUG, those of libraries too, whatever they were before."""
    talkative = (
        "httpx",
        "httpcore",
        "apprise",
        "urllib3",
        "asyncio",
        "pushloss_pipeline",
    )
    loggers = [logging.getLogger(name) for name in (None, *talkative)]
    before = [(logger.level, logger.propagate) for logger in loggers]
    handler = ToStderr()
    loggers[0].addHandler(handler)
    for logger in loggers:
        logger.setLevel(logging.DEBUG)
        logger.propagate = True
    try:
        yield
    finally:
        loggers[0].removeHandler(handler)
        for logger, (level, propagate) in zip(loggers, before, strict=True):
            logger.setLevel(level)
            logger.propagate = propagate


def a_chain(text: str) -> Exception:
    """An error that quotes a text, as do those that led to it."""
    try:
        try:
            try:
                raise httpx.InvalidURL(f"Invalid URL: {text}")
            except httpx.InvalidURL as error:
                raise RuntimeError(f"cannot ask {text}") from error
        except RuntimeError:
            raise OSError(5, "unreachable", text)  # noqa: B904 - the context is meant
    except OSError as error:
        error.add_note(f"the request was {text}")
        return error


def a_tangle(text: str) -> Exception:
    """A group of errors that quote a text, and of groups of them."""
    inner = ExceptionGroup(f"all of {text}", [a_chain(text), ValueError("harmless")])
    return ExceptionGroup("outer", [KeyError(text), inner])


def _raise(error: Callable[[], Exception], *_: Any, **__: Any) -> Any:
    raise error()


def _parts_that(
    settings: Settings, *, break_at: str, error: Callable[[], Exception], **_: Any
) -> Parts:
    """Real parts, but for one that breaks."""
    parts = open_parts(settings)

    @asynccontextmanager
    async def open_client() -> AsyncIterator[Any]:
        # Opened, the client has quieted httpx; somebody switches it on again.
        async with parts.open_client() as client, everything_shown():
            logging.getLogger("any.library").debug("%r", error())
            if break_at == "asking":
                client = SimpleNamespace(ask=partial(_raise_async, error))
            yield client

    if break_at == "publishing":
        parts.warehouse.publish = partial(_raise, error)  # type: ignore[method-assign]
    if break_at == "reporting":
        parts.warehouse.query_all = partial(_raise, error)  # type: ignore[method-assign]
    return replace(parts, open_client=open_client)


@asynccontextmanager
async def everything_shown() -> AsyncIterator[None]:
    """The same for a walk."""
    with everything_logged():
        yield


async def _raise_async(error: Callable[[], Exception], *_: Any) -> Any:
    raise error()


@pytest.fixture(scope="module")
def after_runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Seen]]:
    """Runs whose parts break and quote our secrets, with every logger at DEBUG."""
    with a_site(tmp_path_factory.mktemp("runs")) as site:
        yield list(_runs(site))


def _runs(site: Site) -> Iterator[Seen]:
    usersig = SIGS.current(site.settings.app("shop"))
    secrets = [DEMO_APPS[0].secret_key, usersig, signature_within(usersig)]
    text = marked(secrets)
    what = f"{WORTHY}, {SPELLINGS} spellings"
    for break_at, error, said in (
        ("asking", partial(a_tangle, text), None),
        ("asking", partial(ConfigurationError, f"cannot ask: {text}"), "1 of 1 days"),
        (
            "publishing",
            partial(StoreError, f"cannot publish: {text}"),
            "cannot publish",
        ),
        ("reporting", partial(a_tangle, text), None),
    ):
        parts = partial(_parts_that, break_at=break_at, error=error)
        run = site.run(site.days(1), open_parts=parts)
        if said:
            assert str(failure_of(run).description).startswith(said)
    ticks = _ticks(site, text)
    everywhere = places(site.folder, secrets)
    reached = places(site.folder, [MARK])
    for sink, where in (
        ("Dagster's event log and runs", "home/storage"),
        ("Dagster's compute logs, all loggers at DEBUG", "home/logs"),
        ("all files of DAGSTER_HOME and the data folder", ""),
    ):
        yield Seen(
            sink,
            "nested errors in asking, publishing, reporting",
            what,
            [place for place in everywhere if place.startswith(where)],
            [place for place in reached if place.startswith(where)],
        )
    yield _said("ticks of sensor and schedule", "nested errors", what, ticks, secrets)


def _ticks(site: Site, text: str) -> str:
    """What Dagster would store of ticks: why they skip, how they break."""
    settings = site.settings.model_copy(update={"alarm_url_env": "ALARMS"})
    blind = _parts_that(
        settings, break_at="reporting", error=partial(StoreError, f"no file: {text}")
    )
    broken = replace(blind, clock=partial(_raise, partial(a_chain, text)))
    told = []
    with (
        site.instance() as instance,
        pytest.MonkeyPatch.context() as patch,
        dg.build_sensor_context(instance=instance) as sensing,
        dg.build_schedule_context(instance, datetime.now(UTC)) as ticking,
    ):
        patch.setenv("ALARMS", f"json://127.0.0.1:{closed_port()}")
        told.append(str(alarm_sensor(blind).evaluate_tick(sensing).skip_message))
        for evaluate in (
            lambda: alarm_sensor(broken).evaluate_tick(sensing),
            lambda: ask_again_schedule(broken).evaluate_tick(ticking),
        ):
            try:
                evaluate()
            except Exception:  # noqa: BLE001 - as Dagster does
                info = serializable_error_info_from_exc_info(sys.exc_info())
                told.append(info.to_string())
    assert all(MARK in tick for tick in told) and len(told) == 3, told
    return "".join(told)


# --- what processes say: logs, warnings, tracebacks, messages

PROCESS = """
    import gc, logging, os, sys, threading, warnings
    from tests.trust.test_secrets import SIGS, a_chain, a_tangle, marked
    from pushloss_pipeline.settings import read_settings
    from pushloss_pipeline import cli

    logging.basicConfig(level=logging.DEBUG)
    app = read_settings().app("app_0000")
    usersig = SIGS.current(app)
    with open(os.environ["ASIDE"], "w") as aside:
        aside.write(usersig)
    text = marked([app.secret_key, usersig])
    log = logging.getLogger("any.library")
    log.debug(text)
    log.info("%s of %s", {"url": text}, text)
    log.info("%d", text)
    log.warning("told", exc_info=a_tangle(text), stack_info=True)
    warnings.warn(text)
    def fail():
        raise a_tangle(text)
    thread = threading.Thread(target=fail)
    thread.start()
    thread.join()
    class Bad:
        def __del__(self):
            raise a_chain(text)
    Bad()
    gc.collect()
    cli._say(text)
    cli._complain(text)
    @cli.app.command()
    def broken():
        raise a_tangle(text)
    sys.argv = ["pushloss", "broken"]
    cli.main()
"""


@pytest.fixture(scope="module")
def after_processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Seen]]:
    """A process that says our secrets in every way, and ends by an uncaught error."""
    folder = tmp_path_factory.mktemp("process")
    with a_world(folder) as world:
        yield list(_process(world))


def _process(world: World) -> Iterator[Seen]:
    environment = {secret_variable(app): app.secret_key for app in world.apps}
    aside = world.folder / "usersig"
    ended = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(PROCESS)],
        env={
            **os.environ,
            **environment,
            "ASIDE": str(aside),
            "PUSHLOSS_CONFIG": str(world.folder / "pushloss.toml"),
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 1 and "outer" in ended.stderr, ended.stderr[-2000:]
    secrets = [world.apps[0].secret_key, aside.read_text()]
    what = f"key and usersig, {SPELLINGS} spellings"
    way = "logs, warnings, threads, an uncaught error"
    yield _said("stdout of the command", way, what, ended.stdout, secrets)
    yield _said("stderr of the command", way, what, ended.stderr, secrets)


@pytest.fixture(scope="module")
def after_alarms(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Seen]]:
    """A webhook that takes nothing, with its token in each part of its address."""
    folder = tmp_path_factory.mktemp("alarms")
    with a_world(folder) as world, pytest.MonkeyPatch.context() as patch:
        address = f"127.0.0.1:{closed_port()}/{TOKEN}/{MARK}?cto=1&-x={TOKEN}"
        patch.setenv("ALARMS", f"json://{TOKEN}:{TOKEN}@{address}")
        path = folder / "pushloss.toml"
        path.write_text(f'alarm_url_env = "ALARMS"\n{path.read_text()}')
        yield [_refused(world.settings, folder / "said.log")]


def _refused(settings: Settings, log: Path) -> Seen:
    channel = open_channel(settings.alarm_urls(), variable="ALARMS")
    handler = logging.FileHandler(log)
    logging.getLogger().addHandler(handler)
    try:
        with everything_logged():
            assert [] == channel.send("json", [a_test("file:///report")])
    finally:
        logging.getLogger().removeHandler(handler)
        handler.close()
    way = "a receiver that refuses, all loggers at DEBUG"
    what = "user, password, token, header"
    return _said("logs of an alarm", way, what, log.read_text(), [TOKEN])


# --- the configuration

KEY = DEMO_APPS[1].secret_key
GOOD = {
    "timezone": "Asia/Shanghai",
    "data_dir": "data",
    "start_date": "2026-01-01",
    "schedule_time": "10:30",
}
APP = {
    "sdk_app_id": 1400000001,
    "region": "singapore",
    "identifier": "administrator",
    "secret_key_env": "PUSHLOSS_TEST_KEY",
}
NEW = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
"""A key that no variable holds: what it is can only be told by its looks."""
PASTED = {
    "in place of each setting": [
        *({name: NEW} for name in GOOD),
        {"report_url": f"https://{NEW}@a.example/"},
        {"alarm_url_env": NEW},
        {"retention_days": NEW},
        {"calls_per_second": NEW},
    ],
    "as a setting of its own": [
        {name: NEW} for name in ("secret", "key", "usersig", "secret_key", "x", NEW)
    ],
    "in place of each setting of an app": [
        *({"app": {name: NEW}} for name in APP),
        {"app": {"region": None, "endpoint": NEW}},
        {"app": {"region": None, "endpoint": f"https://{NEW}:{NEW}@a.example"}},
    ],
    "as a setting of an app": [
        {"app": {name: NEW}} for name in ("secret", "key", "usersig", "secretKey", NEW)
    ],
    "as an app's name": [{"name": NEW}, {"name": f"shop {NEW}"}],
    "in broken TOML": [
        {"text": f'secret = "{NEW}'},
        {"text": f"{NEW}"},
        {"text": f"{NEW} = 1\n{NEW} = 2"},
        {"text": f"[{NEW}]\n[{NEW}]"},
        {"text": f'x = "\\u{NEW}"'},
    ],
    "in a comment, held by a variable too": [{"text": f"# {KEY}"}],
    "in a path, held by a variable too": [{"data_dir": f"/data/{KEY}/x"}],
    "escaped, held by a variable too": [
        {"text": f'report_url = "https://a.example/\\u0064{KEY[1:]}"'}
    ],
}


def configured(folder: Path, changes: dict[str, Any]) -> Path:
    """A configuration with something in the wrong place."""
    head: dict[str, Any] = {
        k: v for k, v in changes.items() if k not in ("app", "name", "text")
    }
    app = {**APP, **changes.get("app", {})}
    name = changes.get("name", "shop")
    lines = [
        *changes.get("text", "").splitlines(),
        *(f'"{k}" = {json.dumps(v)}' for k, v in {**GOOD, **head}.items()),
        f"[apps.{json.dumps(name)}]",
        *(f'"{k}" = {json.dumps(v)}' for k, v in app.items() if v is not None),
    ]
    path = folder / "pushloss.toml"
    path.write_text("\n".join(lines))
    return path


@pytest.fixture(scope="module")
def after_configurations(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[list[Seen]]:
    """A key in each wrong place of the configuration."""
    folder = tmp_path_factory.mktemp("configurations")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PUSHLOSS_TEST_KEY", KEY)
        yield [
            _mistakes(folder, where, all_changes)
            for where, all_changes in PASTED.items()
        ]


def _mistakes(folder: Path, where: str, all_changes: list[dict[str, Any]]) -> Seen:
    found, reached = [], []
    for changes in all_changes:
        path = configured(folder, changes)
        try:
            read_settings(path)
        except ConfigurationError as mistake:
            reached.append(str(mistake))
            if tells(str(mistake), [NEW, KEY]):
                found.append(str(mistake))
    missed = len(all_changes) - len(reached)
    return Seen(
        f"refusals of a key {where}",
        "pushloss.toml",
        counted(len(all_changes), "place"),
        found,
        reached if not missed else [],
    )


# --- what came of it

ALL = [
    "after_answers",
    "after_runs",
    "after_processes",
    "after_alarms",
    "after_configurations",
]


@pytest.mark.parametrize("fixture", ALL)
def test_no_secret_comes_out(fixture: str, request: pytest.FixtureRequest) -> None:
    """Whatever quotes a secret, in whatever spelling: it is found nowhere."""
    for seen in request.getfixturevalue(fixture):
        assert not seen.found, seen
        assert seen.reached, seen


def test_the_page_tells_what_was_done(request: pytest.FixtureRequest) -> None:
    """docs/reliability.md has a row for each sink."""
    tell("secrets", [s.as_row() for name in ALL for s in request.getfixturevalue(name)])


def test_ordinary_values_are_no_secrets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Long names and paths of machines are read as they are written."""
    monkeypatch.setenv("PUSHLOSS_TEST_KEY", KEY)
    changes = {
        "name": "a-rather-long-name-of-an-app_0000000001",
        "data_dir": f"/var/lib/docker/volumes/{NEW}/_data",
        "report_url": "https://reports01.intra.example/9f86d081884c7d659a2feaa0c55ad015/",
        "alarm_url_env": "PUSHLOSS_ALARM_URL_OF_PRODUCTION_01",
        "app": {"identifier": NEW[:32]},
    }
    monkeypatch.setenv(
        "PUSHLOSS_ALARM_URL_OF_PRODUCTION_01",
        f"json://reports01.intra.example/{changes['name']}/{TOKEN}",
    )

    settings = read_settings(configured(tmp_path, changes))

    assert [changes["name"]] == list(settings.apps)
    assert changes["data_dir"] == settings.data_dir


def test_a_key_in_the_file_ends_the_command(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Exit code 2, the place, and not a digit of the key."""
    path = configured(tmp_path, {"app": {"secret_key_env": NEW}})
    monkeypatch.setenv("PUSHLOSS_CONFIG", str(path))
    monkeypatch.setattr(sys, "argv", ["pushloss", "status"])

    with pytest.raises(SystemExit) as ended:
        main()

    said = capsys.readouterr()
    assert 2 == ended.value.code
    assert "apps.shop.secret_key_env" in said.err
    assert not tells(said.out + said.err, [NEW])


@pytest.mark.parametrize(
    "value", ["short", "swordfish", "0" * 64, "a b " * 16, "ключ" * 16]
)
def test_what_cannot_be_masked_is_no_key(
    world: World, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    """What stands in ordinary text would be struck from it: it is refused as a key."""
    monkeypatch.setenv(secret_variable(world.apps[0]), value)

    with pytest.raises(ConfigurationError, match="holds no secret key") as refused:
        world.settings.app(world.names[0])

    assert value not in str(refused.value)
