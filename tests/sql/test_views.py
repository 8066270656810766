"""Each view and macro says what its header promises, over rows typed by hand."""

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, timedelta
from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.sql.rows import (
    DAY,
    NOW,
    Row,
    a_day,
    a_loss,
    a_meaning,
    an_app,
    holding,
    insert,
    of_platform,
)

MON, TUE, WED, THU = (date(2026, 3, day) for day in (9, 10, 11, 12))
READY, POST = "ready_to_send", "post_send_delivered"
NO_CERTIFICATE = ("No certificate", "app_config", "console admin", "Configure it")
TOKEN_RETIRED = ("Token retired", "token_invalid", "app team", "Drop it")
BAD_TITLE = ("Title refused", "message_content", "backend", "Mend it")
NOT_KNOWN = ("Not in the catalogue", "unknown", "backend", "Look it up")

Tables = Mapping[str, Sequence[Row]]
Told = list[tuple[Any, ...]]

SHOP = {"sdk_app_id": 1, "app": "shop"}
CHAT = {"sdk_app_id": 2, "app": "chat"}
APPS = [an_app(**SHOP), an_app(**CHAT)]


def retired(count: int, **changed: Any) -> Row:
    """Lost after sending because the token is retired, overall."""
    code = {"stage": POST, "err_code": "410", "err_info": "Unregistered"}
    return a_loss(**{**code, "err_count": count, **changed})


def retired_on(platform_id: int, platform: str, count: int, **changed: Any) -> Row:
    """The same on a platform."""
    named = {"scope": "platform", "platform_id": platform_id, "platform": platform}
    return retired(count, **named, **changed)


def odd(count: int, **changed: Any) -> Row:
    """Lost for a reason that nobody knows, on a vendor that nobody knows."""
    named = {"scope": "platform", "platform_id": 9, "platform": "platform_9"}
    code = {"stage": POST, "err_code": "x1", "err_info": "?", "err_count": count}
    return a_loss(**{**named, **code, **changed})


def means(key: tuple[str, str, str], told: tuple[str, str, str, str]) -> Row:
    """A row of error_codes."""
    columns = ("stage", "platform", "err_code", "meaning", "category", "owner")
    return a_meaning(**dict(zip((*columns, "action"), (*key, *told), strict=True)))


CODES = [
    means((READY, "apns", "-1"), NO_CERTIFICATE),
    means((POST, "apns", "-1"), BAD_TITLE),
    means((POST, "apns", "410"), TOKEN_RETIRED),
    means((POST, "xiaomi", "410"), BAD_TITLE),
    {**means((POST, "platform_9", "x1"), NOT_KNOWN), "resolved_by": "nothing"},
]

# Monday: the shop's platforms tell less of the certificates than overall, and more
# of x1. Tuesday: the shop is empty, the chat's answer is missing. Wednesday: the
# shop is young, the chat held with the rows that stand. Thursday: the shop is empty.
WORLD: Tables = {
    "apps": APPS,
    "error_codes": CODES,
    "push_loss_days": [
        a_day(**SHOP, loss_date=MON),
        a_day(**CHAT, loss_date=MON),
        a_day(**SHOP, loss_date=TUE, state="empty"),
        a_day(**CHAT, loss_date=TUE, state="failed", revision=0),
        a_day(**SHOP, loss_date=WED, is_young=True),
        a_day(**CHAT, loss_date=WED, state="held"),
        a_day(**SHOP, loss_date=THU, state="empty", is_young=True),
        a_day(**CHAT, loss_date=THU, is_young=True),
    ],
    "push_loss": [
        a_loss(**SHOP, loss_date=MON, err_count=10),
        of_platform(**SHOP, loss_date=MON, err_count=8),
        retired(25, **SHOP, loss_date=MON),
        retired_on(1, "apns", 24, **SHOP, loss_date=MON),
        retired(5, **SHOP, loss_date=MON, err_code="x1", err_info="?"),
        odd(8, **SHOP, loss_date=MON),
        a_loss(**CHAT, loss_date=MON, err_count=10),
        of_platform(**CHAT, loss_date=MON, err_count=10),
        retired(4, **SHOP, loss_date=WED),
        retired_on(1, "apns", 1, **SHOP, loss_date=WED),
        retired_on(2, "xiaomi", 1, **SHOP, loss_date=WED),
        a_loss(**CHAT, loss_date=WED, err_count=12),
        of_platform(**CHAT, loss_date=WED, err_count=12),
        a_loss(**CHAT, loss_date=THU, err_count=5),
        of_platform(**CHAT, loss_date=THU, err_count=5),
    ],
}
OVERALL_COUNT, PLATFORM_COUNT = 71, 69


def told(source: str, tables: Tables = WORLD, *, columns: str = "*") -> Told:
    """What a view, or a call of a macro, gives: sorted by all columns, NULL last."""
    question = f"select {columns} from {source} order by all"
    with holding(tables, with_views=True) as connection:
        return connection.execute(question).fetchall()


def with_apps(*days: Row, losses: Sequence[Row]) -> Tables:
    """Tables of the two apps with the usual codes."""
    return {
        "apps": APPS,
        "error_codes": CODES,
        "push_loss_days": days,
        "push_loss": losses,
    }


def test_by_day() -> None:
    """A day adds up its apps; an empty one counts 0 and shares nothing."""
    assert [
        (MON, 2, 0, False, 50, 20, 30, 0.4),
        (TUE, 1, 1, False, 0, 0, 0, None),
        (WED, 2, 0, True, 16, 12, 4, 0.75),
        (THU, 2, 0, True, 5, 5, 0, 1.0),
    ] == told("push_loss_by_day")


@pytest.mark.parametrize(
    ("count", "share"), [(3, 0.0), (0, None)], ids=["one stage", "nothing"]
)
def test_a_day_of_one_stage(count: int, share: float | None) -> None:
    """A stage without losses counts 0."""
    tables = with_apps(a_day(), losses=[retired(count)])

    assert [(DAY, 1, 0, False, count, 0, count, share)] == told(
        "push_loss_by_day", tables
    )


def test_an_app_is_missed_from_its_first_day_to_the_end() -> None:
    """Missing is an app that has been asked for; once taken out, no more after."""
    days = [a_day(**SHOP, loss_date=day) for day in (MON, TUE, WED)]
    days += [a_day(**CHAT, loss_date=TUE, state="failed", revision=0)]
    gone = {"sdk_app_id": 3, "app": "gone"}
    days += [a_day(**gone, loss_date=MON, state="refused", revision=0)]
    apps = [*APPS, an_app(**gone, is_configured=False)]
    counts = told(
        "push_loss_by_day",
        {"apps": apps, "push_loss_days": days},
        columns="loss_date, app_count, missing_app_count",
    )

    assert [(MON, 1, 1), (TUE, 1, 1), (WED, 1, 1)] == counts


def test_a_day_that_no_app_knows_is_no_row() -> None:
    """Nobody can take a missing day for one without losses."""
    unknown = a_day(state="failed", revision=0)

    for view in ("push_loss_by_day", "push_loss_by_app", "push_loss_by_stage"):
        assert [] == told(view, with_apps(unknown, losses=[]))


def test_by_app() -> None:
    """Each known day of an app is a row, empty and held ones too."""
    assert [
        (MON, 1, "shop", "loaded", False, 40, 10, 30, 0.8),
        (MON, 2, "chat", "loaded", False, 10, 10, 0, 0.2),
        (TUE, 1, "shop", "empty", False, 0, 0, 0, None),
        (WED, 1, "shop", "loaded", True, 4, 0, 4, 0.25),
        (WED, 2, "chat", "held", False, 12, 12, 0, 0.75),
        (THU, 1, "shop", "empty", True, 0, 0, 0, 0.0),
        (THU, 2, "chat", "loaded", True, 5, 5, 0, 1.0),
    ] == told("push_loss_by_app")


def test_by_stage() -> None:
    """Both stages stand on every known day."""
    assert [
        (MON, 1, "shop", POST, False, 30, 0.75),
        (MON, 1, "shop", READY, False, 10, 0.25),
        (MON, 2, "chat", POST, False, 0, 0.0),
        (MON, 2, "chat", READY, False, 10, 1.0),
        (TUE, 1, "shop", POST, False, 0, None),
        (TUE, 1, "shop", READY, False, 0, None),
        (WED, 1, "shop", POST, True, 4, 1.0),
        (WED, 1, "shop", READY, True, 0, 0.0),
        (WED, 2, "chat", POST, False, 0, 0.0),
        (WED, 2, "chat", READY, False, 12, 1.0),
        (THU, 1, "shop", POST, True, 0, None),
        (THU, 1, "shop", READY, True, 0, None),
        (THU, 2, "chat", POST, True, 0, 0.0),
        (THU, 2, "chat", READY, True, 5, 1.0),
    ] == told("push_loss_by_stage")


def test_by_platform() -> None:
    """A platform adds up its stages; a vendor without a page has its number's name."""
    assert [
        (MON, 1, "shop", 1, "apns", False, 32, 8, 24, 0.8),
        (MON, 1, "shop", 9, "platform_9", False, 8, 0, 8, 0.2),
        (MON, 2, "chat", 1, "apns", False, 10, 10, 0, 1.0),
        (WED, 1, "shop", 1, "apns", True, 1, 0, 1, 0.5),
        (WED, 1, "shop", 2, "xiaomi", True, 1, 0, 1, 0.5),
        (WED, 2, "chat", 1, "apns", False, 12, 12, 0, 1.0),
        (THU, 2, "chat", 1, "apns", True, 5, 5, 0, 1.0),
    ] == told("push_loss_by_platform")


CERTIFICATE = (READY, 1, "apns", "-1", "certificate id not set", *NO_CERTIFICATE)
RETIRED = (POST, 1, "apns", "410", "Unregistered", *TOKEN_RETIRED)
TITLE = (POST, 2, "xiaomi", "410", "Unregistered", *BAD_TITLE)
ODD = (POST, 9, "platform_9", "x1", "?", *NOT_KNOWN)


def test_by_code() -> None:
    """A code has the meaning of its stage and platform, an unknown one says so."""
    assert [
        (MON, 1, "shop", *RETIRED, False, 24, 0.6),
        (MON, 1, "shop", *ODD, False, 8, 0.2),
        (MON, 1, "shop", *CERTIFICATE, False, 8, 0.2),
        (MON, 2, "chat", *CERTIFICATE, False, 10, 1.0),
        (WED, 1, "shop", *RETIRED, True, 1, 0.5),
        (WED, 1, "shop", *TITLE, True, 1, 0.5),
        (WED, 2, "chat", *CERTIFICATE, False, 12, 1.0),
        (THU, 2, "chat", *CERTIFICATE, True, 5, 1.0),
    ] == told("push_loss_by_code")


def test_by_category() -> None:
    """A category has its share of the app's day; unknown codes are one of them."""
    assert [
        (MON, 1, "shop", "app_config", False, 8, 0.2),
        (MON, 1, "shop", "token_invalid", False, 24, 0.6),
        (MON, 1, "shop", "unknown", False, 8, 0.2),
        (MON, 2, "chat", "app_config", False, 10, 1.0),
        (WED, 1, "shop", "message_content", True, 1, 0.5),
        (WED, 1, "shop", "token_invalid", True, 1, 0.5),
        (WED, 2, "chat", "app_config", False, 12, 1.0),
        (THU, 2, "chat", "app_config", True, 5, 1.0),
    ] == told("push_loss_by_category")


def test_by_owner() -> None:
    """An owner has his share of the app's day."""
    assert [
        (MON, 1, "shop", "app team", False, 24, 0.6),
        (MON, 1, "shop", "backend", False, 8, 0.2),
        (MON, 1, "shop", "console admin", False, 8, 0.2),
        (MON, 2, "chat", "console admin", False, 10, 1.0),
        (WED, 1, "shop", "app team", True, 1, 0.5),
        (WED, 1, "shop", "backend", True, 1, 0.5),
        (WED, 2, "chat", "console admin", False, 12, 1.0),
        (THU, 2, "chat", "console admin", True, 5, 1.0),
    ] == told("push_loss_by_owner")


def test_codes_of_one_owner_add_up() -> None:
    """Several codes of an owner are one row, whatever their platforms."""
    losses = [odd(3), retired_on(2, "xiaomi", 4), retired_on(1, "apns", 3)]

    assert [
        (DAY, 1, "shop", "app team", False, 3, 0.3),
        (DAY, 1, "shop", "backend", False, 7, 0.7),
    ] == told("push_loss_by_owner", with_apps(a_day(), losses=losses))


@pytest.mark.parametrize(
    "part", ["app", "stage", "platform", "code", "category", "owner"]
)
def test_a_share_of_nothing(part: str) -> None:
    """A day that lost nothing, in as many rows, has shares of NULL."""
    losses = [a_loss(err_count=0), odd(0)]
    shares = told(
        f"push_loss_by_{part}",
        with_apps(a_day(), losses=losses),
        columns="distinct lost_count, share_of_day",
    )

    assert [(0, None)] == shares


@pytest.mark.parametrize("part", ["platform", "code", "category", "owner"])
def test_empty_day_has_no_parts(part: str) -> None:
    """A day without losses has no platform and no code to tell of."""
    empty = a_day(state="empty")

    assert [] == told(f"push_loss_by_{part}", with_apps(empty, losses=[]))


def test_residual() -> None:
    """What no platform explains, both ways: platforms may tell more than overall."""
    assert [
        (MON, 1, "shop", POST, False, 30, 32, -2, -2 / 30),
        (MON, 1, "shop", READY, False, 10, 8, 2, 0.2),
        (MON, 2, "chat", POST, False, 0, 0, 0, None),
        (MON, 2, "chat", READY, False, 10, 10, 0, 0.0),
        (TUE, 1, "shop", POST, False, 0, 0, 0, None),
        (TUE, 1, "shop", READY, False, 0, 0, 0, None),
        (WED, 1, "shop", POST, True, 4, 2, 2, 0.5),
        (WED, 1, "shop", READY, True, 0, 0, 0, None),
        (WED, 2, "chat", POST, False, 0, 0, 0, None),
        (WED, 2, "chat", READY, False, 12, 12, 0, 0.0),
        (THU, 1, "shop", POST, True, 0, 0, 0, None),
        (THU, 1, "shop", READY, True, 0, 0, 0, None),
        (THU, 2, "chat", POST, True, 0, 0, 0, None),
        (THU, 2, "chat", READY, True, 5, 5, 0, 0.0),
    ] == told("push_loss_residual")


def test_residual_of_platforms_alone() -> None:
    """Where overall tells nothing, the residual has no share."""
    residual = told("push_loss_residual", with_apps(a_day(), losses=[odd(3)]))

    assert (DAY, 1, "shop", POST, False, 0, 3, -3, None) == residual[0]


def test_gaps() -> None:
    """Each day without an accepted answer is told, asked for or not."""
    bad = {"revision": 0, "error_code": 60008, "error_info": "busy"}
    gone = {"sdk_app_id": 3, "app": "gone"}
    days = [
        a_day(**SHOP, loss_date=MON),
        a_day(**SHOP, loss_date=TUE, state="failed", **bad),
        a_day(**SHOP, loss_date=THU, state="empty"),
        a_day(**CHAT, loss_date=TUE, state="expired", revision=0),
        a_day(**CHAT, loss_date=WED, state="failed", revision=1),
        a_day(**gone, loss_date=MON, state="refused", **bad),
    ]
    apps = [*APPS, an_app(**gone, is_configured=False)]

    assert [
        (MON, 3, "gone", "refused", NOW, 60008, "busy"),
        (TUE, 1, "shop", "failed", NOW, 60008, "busy"),
        (TUE, 2, "chat", "expired", NOW, None, None),
        (WED, 1, "shop", "never asked", None, None, None),
        (THU, 2, "chat", "never asked", None, None, None),
    ] == told("push_loss_gaps", {"apps": apps, "push_loss_days": days})


def test_an_ancient_day_makes_no_gaps() -> None:
    """A day that was asked for too late is a gap, those after it are none."""
    ancient = date(2020, 1, 1)
    expired = {"state": "expired", "revision": 0}
    days = [
        a_day(**SHOP, loss_date=ancient, **expired),
        a_day(**SHOP, loss_date=TUE),
        a_day(**SHOP, loss_date=THU),
        a_day(**CHAT, loss_date=ancient),
        a_day(**CHAT, loss_date=later_than(ancient, 1), state="expired"),
    ]
    gone = {"sdk_app_id": 3, "app": "gone"}
    days += [a_day(**gone, loss_date=MON, **expired)]
    apps = [*APPS[:1], an_app(**CHAT, is_configured=False), an_app(**gone)]
    tables = {"apps": apps, "push_loss_days": days}

    assert [
        (ancient, "shop", "expired"),
        (MON, "gone", "expired"),
        (WED, "shop", "never asked"),
    ] == told("push_loss_gaps", tables, columns="loss_date, app, state")
    assert [(ancient, 1, 0), (later_than(ancient, 1), 1, 0), (TUE, 1, 0)] == told(
        "push_loss_by_day",
        tables,
        columns="loss_date, app_count, missing_app_count",
    )[:3]


def later_than(day: date, number: int) -> date:
    """So many days later."""
    return day + timedelta(days=number)


def test_no_gaps() -> None:
    """Known days are no gaps, empty and held ones neither."""
    days = [a_day(loss_date=MON, state="empty"), a_day(loss_date=TUE, state="held")]

    assert [] == told("push_loss_gaps", with_apps(*days, losses=[]))


FOUR_WEEKS_AGO = WED - timedelta(days=27)

# The shop's newest known day is Wednesday, the chat's is long past.
MONTHS = with_apps(
    a_day(**SHOP, loss_date=WED - timedelta(days=28)),
    a_day(**SHOP, loss_date=FOUR_WEEKS_AGO),
    a_day(**SHOP, loss_date=WED),
    a_day(**SHOP, loss_date=THU, state="failed", revision=0),
    a_day(**CHAT, loss_date=date(2026, 1, 5)),
    losses=[
        retired_on(1, "apns", 1000, **SHOP, loss_date=WED - timedelta(days=28)),
        odd(25, **SHOP, loss_date=FOUR_WEEKS_AGO),
        retired_on(1, "apns", 20, **SHOP, loss_date=FOUR_WEEKS_AGO),
        retired_on(1, "apns", 40, **SHOP, loss_date=WED),
        of_platform(**SHOP, loss_date=WED, err_count=15),
        a_loss(**SHOP, loss_date=WED, err_count=99),
        of_platform(**CHAT, loss_date=date(2026, 1, 5), err_count=4),
    ],
)
PARETO = [
    ("shop", 1, POST, 1, "apns", "410", *TOKEN_RETIRED, 60, 0.6, 0.6),
    ("shop", 2, POST, 9, "platform_9", "x1", *NOT_KNOWN, 25, 0.25, 0.85),
    ("shop", 3, READY, 1, "apns", "-1", *NO_CERTIFICATE, 15, 0.15, 1.0),
]


def test_pareto() -> None:
    """Each app's four weeks end with its own newest known day."""
    chat = ("chat", 1, READY, 1, "apns", "-1", *NO_CERTIFICATE, 4, 1.0, 1.0)

    assert [*((1, *row) for row in PARETO), (2, *chat)] == told(
        "push_loss_pareto", MONTHS
    )


@pytest.mark.parametrize("source", ["push_loss_pareto", "push_loss_top('shop', 7)"])
def test_pareto_of_equals(source: str) -> None:
    """Of codes that lose as much the first by its key goes first."""
    losses = [of_platform(err_count=2), retired_on(2, "xiaomi", 2)]
    losses += [odd(2, err_code=code) for code in "10"]
    codes = [means((POST, "platform_9", code), NOT_KNOWN) for code in "01"]
    tables = {**with_apps(a_day(), losses=losses), "error_codes": [*CODES, *codes]}
    columns = "position, stage, platform_id, err_code, share, cumulative_share"

    assert [
        (1, POST, 2, "410", 0.25, 0.25),
        (2, POST, 9, "0", 0.25, 0.5),
        (3, POST, 9, "1", 0.25, 0.75),
        (4, READY, 1, "-1", 0.25, 1.0),
    ] == told(source, tables, columns=columns)


@pytest.mark.parametrize("source", ["push_loss_pareto", "push_loss_top('shop', 7)"])
@pytest.mark.parametrize(
    ("losses", "expected"),
    [([], []), ([odd(0)], [(0, None, None)])],
    ids=["empty day", "losses of nothing"],
)
def test_pareto_of_nothing(source: str, losses: Sequence[Row], expected: Told) -> None:
    """An app that lost nothing has no codes, or codes without a share."""
    columns = "lost_count, share, cumulative_share"

    assert expected == told(source, with_apps(a_day(), losses=losses), columns=columns)


def test_top() -> None:
    """The top of four weeks is that app's pareto."""
    assert PARETO == told("push_loss_top('shop', 28)", MONTHS)


def test_top_of_a_day() -> None:
    """The app's newest known day alone, without what came before."""
    top = told(
        "push_loss_top('shop', 1)", MONTHS, columns="position, lost_count, share"
    )

    assert [(1, 40, 40 / 55), (2, 15, 15 / 55)] == top


@pytest.mark.parametrize("call", ["'nobody', 28", "'shop', 0"])
def test_top_of_nobody(call: str) -> None:
    """An app that is not there, or no days, give no rows."""
    assert [] == told(f"push_loss_top({call})", MONTHS)


def test_top_of_an_app_with_two_numbers() -> None:
    """An app that got a new SDKAppID is one app: both are added up."""
    apps = [an_app(**SHOP, is_configured=False), an_app(sdk_app_id=2)]
    days = [a_day(), a_day(sdk_app_id=2)]
    losses = [retired_on(1, "apns", 1), retired_on(1, "apns", 2, sdk_app_id=2)]
    tables = {**with_apps(*days, losses=losses), "apps": apps}

    assert [("shop", 1, POST, 1, "apns", "410", *TOKEN_RETIRED, 3, 1.0, 1.0)] == told(
        "push_loss_top('shop', 7)", tables
    )


def test_unknown_codes() -> None:
    """A code that nobody knows is told with its text, days and weight."""
    resolved = {
        **means((POST, "platform_9", "x2"), BAD_TITLE),
        "resolved_by": "text",
    }
    losses = [
        odd(4, **SHOP, loss_date=MON),
        odd(3, **CHAT, loss_date=MON),
        odd(8, **SHOP, loss_date=WED, err_info="what?"),
        odd(15, **SHOP, loss_date=WED, err_code="x2"),
        retired_on(1, "apns", 99),
    ]
    others = [
        means((READY, "platform_9", "x1"), NOT_KNOWN),
        means((POST, "apns", "x1"), NOT_KNOWN),
    ]
    tables = {
        **with_apps(a_day(), losses=losses),
        "error_codes": [*CODES, resolved, *others],
    }

    assert [
        (POST, 9, "platform_9", "x1", "what?", "nothing", MON, WED, 3, 15, 0.5)
    ] == told("push_loss_unknown_codes", tables)


def test_codes_that_the_catalogue_does_not_know_either() -> None:
    """A code that the catalogue lists as unknown is one; of equal texts the first."""
    listed = [means((POST, "apns", "410"), NOT_KNOWN)]
    texts = [None, "b", "a"]
    losses = [
        retired_on(1, "apns", 1, loss_date=day, err_info=text)
        for day, text in zip((MON, TUE, WED), texts, strict=True)
    ]
    tables = {**with_apps(a_day(), losses=losses), "error_codes": listed}

    assert [(POST, 1, "apns", "410", "a", "code", MON, WED, 3, 3, 1.0)] == told(
        "push_loss_unknown_codes", tables
    )


def test_unknown_codes_without_text_and_weight() -> None:
    """Neither a missing text nor a platform that lost nothing is in the way."""
    tables = with_apps(a_day(), losses=[odd(0, err_info=None)])

    assert [
        (POST, 9, "platform_9", "x1", None, "nothing", DAY, DAY, 1, 0, None)
    ] == told("push_loss_unknown_codes", tables)


WEEK_AGO = timedelta(days=7)

# Compared are the shop's Monday and Tuesday, which is empty and young; not its
# Wednesday, which was not known a week ago, and not its Thursday, which is not known
# now. The chat's Monday changed nothing.
TWO_WEEKS = with_apps(
    a_day(**SHOP, loss_date=MON - WEEK_AGO),
    a_day(**SHOP, loss_date=TUE - WEEK_AGO),
    a_day(**SHOP, loss_date=WED - WEEK_AGO, state="failed", revision=0),
    a_day(**SHOP, loss_date=THU - WEEK_AGO),
    a_day(**SHOP, loss_date=MON),
    a_day(**SHOP, loss_date=TUE, state="empty", is_young=True),
    a_day(**SHOP, loss_date=WED),
    a_day(**SHOP, loss_date=THU, state="failed", revision=0),
    a_day(**CHAT, loss_date=MON - WEEK_AGO),
    a_day(**CHAT, loss_date=MON),
    losses=[
        retired(10, **SHOP, loss_date=MON - WEEK_AGO),
        retired_on(1, "apns", 8, **SHOP, loss_date=MON - WEEK_AGO),
        a_loss(**SHOP, loss_date=TUE - WEEK_AGO, err_count=4),
        of_platform(**SHOP, loss_date=TUE - WEEK_AGO, err_count=4),
        retired(15, **SHOP, loss_date=MON),
        retired_on(1, "apns", 9, **SHOP, loss_date=MON),
        retired_on(2, "xiaomi", 3, **SHOP, loss_date=MON),
        retired(5, **SHOP, loss_date=MON, err_code="x1"),
        odd(5, **SHOP, loss_date=MON),
        retired(1000, **SHOP, loss_date=WED),
        retired_on(1, "apns", 1000, **SHOP, loss_date=WED),
        retired(1000, **SHOP, loss_date=THU - WEEK_AGO),
        retired_on(1, "apns", 1000, **SHOP, loss_date=THU - WEEK_AGO),
        a_loss(**CHAT, loss_date=MON - WEEK_AGO, err_count=7),
        of_platform(**CHAT, loss_date=MON - WEEK_AGO, err_count=7),
        a_loss(**CHAT, loss_date=MON, err_count=7),
        of_platform(**CHAT, loss_date=MON, err_count=7),
    ],
)


RESIDUAL = (POST, None, None, "410", None, None, None, None)
CHANGED = [
    (1, "shop", (POST, 1, "apns", "410", *TOKEN_RETIRED), True, 2, 8, 9, 1, 1 / 6),
    (1, "shop", (POST, 2, "xiaomi", "410", *BAD_TITLE), True, 2, 0, 3, 3, 3 / 6),
    (1, "shop", (POST, 9, "platform_9", "x1", *NOT_KNOWN), True, 2, 0, 5, 5, 5 / 6),
    (1, "shop", RESIDUAL, True, 2, 2, 3, 1, 1 / 6),
    (1, "shop", (READY, 1, "apns", "-1", *NO_CERTIFICATE), True, 2, 4, 0, -4, -4 / 6),
    (2, "chat", (READY, 1, "apns", "-1", *NO_CERTIFICATE), False, 1, 7, 7, 0, None),
]


def test_week_on_week() -> None:
    """Cells of known pairs add up to the change, the residual among them."""
    assert [
        (number, app, MON, *code[:-1], *figures)
        for number, app, code, *figures in CHANGED
    ] == told("push_loss_week_on_week", TWO_WEEKS)


def test_change_over_a_week() -> None:
    """A period of seven days is compared as its week is, and says what to do."""
    assert [
        (number, app, *code, *figures) for number, app, code, *figures in CHANGED
    ] == told("push_loss_change('2026-03-09', '2026-03-15')", TWO_WEEKS)


def test_change_over_two_days() -> None:
    """Each day is compared with the one as many days before as the period is long."""
    known = [a_day(loss_date=day) for day in (MON, TUE, WED)]
    losses = [retired_on(1, "apns", n, loss_date=d) for n, d in ((3, MON), (9, WED))]
    losses += [retired_on(1, "apns", 100, loss_date=TUE)]
    cells = told(
        "push_loss_change(date '2026-03-11', date '2026-03-12')",
        with_apps(*known, losses=losses),
        columns="platform, compared_days, before_count, after_count, change_count",
    )

    assert [("apns", 1, 3, 9, 6), (None, 1, -3, -9, -6)] == cells


@pytest.mark.parametrize(
    "period",
    [("2026-03-01", "2026-03-02"), ("2026-03-11", "2026-03-10")],
    ids=["nothing known", "ends before it begins"],
)
def test_change_without_pairs(period: tuple[str, str]) -> None:
    """Where no day is known on both sides, nothing has changed."""
    assert [] == told(f"push_loss_change{period}", WORLD)


FIRST_DAY = date(2026, 3, 2)
CELLS = [
    (stage, platform_id, err_code)
    for stage in (READY, POST)
    for platform_id in (None, 1, 9)
    for err_code in ("a", "b")
]
DayCounts = Mapping[tuple[str, int | None, str], int]
World = Mapping[tuple[int, date], DayCounts]

# Known days of two apps over three weeks, with the losses of each.
small_worlds = st.dictionaries(
    st.tuples(
        st.integers(1, 2),
        st.integers(0, 20).map(lambda number: FIRST_DAY + timedelta(days=number)),
    ),
    st.dictionaries(st.sampled_from(CELLS), st.integers(1, 2**40), max_size=6),
    max_size=30,
)


def filled(world: World) -> Iterator[tuple[str, list[Row]]]:
    """The tables of a small world."""
    names = {None: None, 1: "apns", 9: "platform_9"}
    yield "push_loss_days", [a_day(sdk_app_id=a, loss_date=d) for a, d in world]
    yield (
        "push_loss",
        [
            a_loss(
                sdk_app_id=app,
                loss_date=day,
                stage=stage,
                scope="overall" if platform_id is None else "platform",
                platform_id=platform_id,
                platform=names[platform_id],
                err_code=err_code,
                err_count=count,
            )
            for (app, day), counts in world.items()
            for (stage, platform_id, err_code), count in counts.items()
        ],
    )


def overall(counts: DayCounts) -> int:
    """Losses of a day, scope overall."""
    return sum(n for (_, platform, _), n in counts.items() if platform is None)


def paired(world: World, days_between: int) -> Iterator[tuple[int, date, int, int]]:
    """App, day, its losses before and after, of each day known on both sides."""
    for (app, day), counts in world.items():
        before = world.get((app, day - timedelta(days=days_between)))
        if before is not None:
            yield app, day, overall(before), overall(counts)


def added_up(pairs: Iterator[tuple[Any, int, int]]) -> dict[Any, tuple[int, int]]:
    """Losses before and after by key, where there are any."""
    totals: dict[Any, tuple[int, int]] = {}
    for key, before, after in pairs:
        so_far = totals.get(key, (0, 0))
        totals[key] = (so_far[0] + before, so_far[1] + after)
    return {key: total for key, total in totals.items() if total != (0, 0)}


def in_sums(
    connection: duckdb.DuckDBPyConnection, source: str, key: str
) -> dict[Any, tuple[int, int]]:
    """The sums of a view's cells by a key, where they are not 0."""
    columns = f"{key}, sum(before_count), sum(after_count), sum(change_count)"
    rows = connection.execute(f"select {columns} from {source} group by all").fetchall()

    assert all(change == after - before for *_, before, after, change in rows)
    return {
        k: (before, after) for k, before, after, _ in rows if (before, after) != (0, 0)
    }


def refill(connection: duckdb.DuckDBPyConnection, world: World) -> None:
    """Put a small world in place of the last one."""
    for name, rows in filled(world):
        connection.execute(f"delete from {name}")
        insert(connection, name, rows)


def test_weeks_add_up_exactly() -> None:
    """The cells of any week add up to the change of the overall losses, exactly."""
    with holding({"apps": APPS}, with_views=True) as connection:

        @settings(max_examples=40, deadline=None)
        @given(small_worlds)
        def adds_up(world: World) -> None:
            refill(connection, world)
            expected = added_up(
                ((app, day - timedelta(days=day.weekday())), before, after)
                for app, day, before, after in paired(world, 7)
            )

            assert expected == in_sums(
                connection, "push_loss_week_on_week", "(sdk_app_id, week_start)"
            )

        adds_up()


def test_periods_add_up_exactly() -> None:
    """The cells of any period add up to the change of the overall losses, exactly."""
    with holding({"apps": APPS}, with_views=True) as connection:

        @settings(max_examples=40, deadline=None)
        @given(small_worlds, st.integers(0, 20), st.integers(1, 10))
        def adds_up(world: World, start: int, length: int) -> None:
            refill(connection, world)
            first = FIRST_DAY + timedelta(days=start)
            last = first + timedelta(days=length - 1)
            expected = added_up(
                (app, before, after)
                for app, day, before, after in paired(world, length)
                if first <= day <= last
            )

            assert expected == in_sums(
                connection, f"push_loss_change('{first}', '{last}')", "sdk_app_id"
            )

        adds_up()


def a_history(days: str, count: int = 20, app: Row = SHOP) -> Tables:
    """Days of one code from Monday on.

    `x` it is met, `.` the day is known without it, `?` asked for in vain, `-` never
    asked for.
    """
    dates = [MON + timedelta(days=number) for number in range(len(days))]
    here = list(zip(dates, days, strict=True))
    return with_apps(
        *(
            a_day(**app, loss_date=day, revision=0 if mark == "?" else 1)
            for day, mark in here
            if mark != "-"
        ),
        losses=[odd(count, **app, loss_date=day) for day, mark in here if mark == "x"],
    )


def events(tables: Tables) -> list[tuple[str, int]]:
    """Events of a history, by the number of their day."""
    rows = told("push_loss_code_events", tables, columns="event, loss_date")
    return [(event, (day - MON).days) for event, day in rows]


@pytest.mark.parametrize(
    ("days", "expected"),
    [
        (".......x", [("first_seen", 7)]),
        ("......x", []),
        ("....?...x", [("first_seen", 8)]),
        ("....?..x", []),
        ("....-..x", []),
        (".......x......x", [("first_seen", 7)]),
        (".......xxxxx......x", [("first_seen", 7)]),
        ("x.......x", [("returned", 8)]),
        ("x......x", []),
        ("x....?..x", []),
        ("x....?...x", [("returned", 9)]),
        ("xxxxx.......", [("vanished", 5)]),
        ("xxxxx......", []),
        ("xxxxx...?...", []),
        ("xxxxx?.......", [("vanished", 6)]),
        ("xx.x.xx.......", [("vanished", 7)]),
        ("xx.x..x.......", []),
        ("xx.x..xx.......", []),
        ("xxxx.......", []),
        ("x" * 30, []),
        ("." * 30, []),
        ("xxxxx.......x", [("returned", 12), ("vanished", 5)]),
        (
            ".......xxxxx.......xxxxx.......",
            [("first_seen", 7), ("returned", 19), ("vanished", 12), ("vanished", 24)],
        ),
    ],
)
def test_code_events(days: str, expected: list[tuple[str, int]]) -> None:
    """Seven known days without a code, before or after, make an event; no fewer."""
    assert expected == events(a_history(days))


@pytest.mark.parametrize(
    ("days", "count", "expected"),
    [
        (".......x", 19, []),
        (".......x.....x", 10, [("first_seen", 7)]),
        (".......x......x", 10, []),
        ("x.......x?.....x", 10, [("returned", 8)]),
        ("xxxxx.......", 4, [("vanished", 5)]),
        ("xxxxx.......", 3, []),
        ("x.xx.xx.......", 4, [("vanished", 7)]),
        ("xxx.xxxx.......", 3, []),
    ],
)
def test_rare_codes_make_no_events(
    days: str, count: int, expected: list[tuple[str, int]]
) -> None:
    """An event takes 20 messages within 7 known days."""
    assert expected == events(a_history(days, count))


def test_code_events_in_full() -> None:
    """An event tells the code's meaning; losses of nothing are not being met."""
    shop = a_history(".......x")
    chat = a_history("xxxxx.......", 30, CHAT)
    days = [*shop["push_loss_days"], *chat["push_loss_days"]]
    days[7] = {**days[7], "is_young": True}
    losses = [*shop["push_loss"], *chat["push_loss"]]
    losses += [odd(0, **SHOP, loss_date=MON)]
    code = (POST, 9, "platform_9", "x1", *NOT_KNOWN)

    assert [
        (MON + timedelta(days=5), 2, "chat", "vanished", *code, False, 30),
        (MON + timedelta(days=7), 1, "shop", "first_seen", *code, True, 20),
    ] == told("push_loss_code_events", with_apps(*days, losses=losses))


def replaced(number: int, **changed: Any) -> Row:
    """The code's losses of a day as a replaced answer told them."""
    loss = odd(20, loss_date=MON + timedelta(days=number), **changed)
    return {**loss, "recorded_at": NOW, "superseded_at": NOW}


@pytest.mark.parametrize(
    ("days", "history", "expected"),
    [
        (".......x", [replaced(6)], []),
        (".......x", [replaced(0), replaced(7)], []),
        (".......x", [replaced(7)], [("first_seen", 7)]),
        (".......x", [replaced(6, platform_id=2)], [("first_seen", 7)]),
        (".......x", [replaced(6, stage=READY)], [("first_seen", 7)]),
        (".......x", [replaced(6, err_code="x2")], [("first_seen", 7)]),
        (".......x", [replaced(6, sdk_app_id=2)], [("first_seen", 7)]),
        ("x.......x", [replaced(1)], []),
        ("x.......x", [replaced(0)], [("returned", 8)]),
        ("xxxxx.......", [replaced(6)], [("vanished", 5)]),
    ],
)
def test_withdrawn_codes_make_no_events(
    days: str, history: Sequence[Row], expected: list[tuple[str, int]]
) -> None:
    """A code that was told in between, and withdrawn, has been met before."""
    assert expected == events({**a_history(days), "push_loss_history": history})


def test_standing_losses_withdraw_nothing() -> None:
    """The history of what stands is no earlier answer."""
    tables = a_history("x.......x")
    history = [
        {**loss, "recorded_at": NOW, "superseded_at": None}
        for loss in tables["push_loss"]
    ]

    assert [("returned", 8)] == events({**tables, "push_loss_history": history})


@pytest.mark.parametrize(
    "elsewhere",
    [
        {"stage": READY},
        {"platform_id": 2, "platform": "xiaomi"},
        {"err_code": "x2"},
        {"sdk_app_id": 2},
    ],
    ids=["stage", "platform", "code", "app"],
)
def test_events_of_another_code(elsewhere: Row) -> None:
    """A code means nothing without its stage and platform: elsewhere it is another."""
    shop = a_history(".......x")
    dates = [day["loss_date"] for day in shop["push_loss_days"]]
    losses = [odd(50, loss_date=day, **elsewhere) for day in dates]
    days = [a_day(sdk_app_id=2, loss_date=day) for day in dates]
    tables = with_apps(
        *shop["push_loss_days"], *days, losses=[*shop["push_loss"], *losses]
    )

    assert [("first_seen", 7)] == events(tables)


SUMS = {
    "push_loss_by_day": ("lost_count", OVERALL_COUNT),
    "push_loss_by_app": ("lost_count", OVERALL_COUNT),
    "push_loss_by_stage": ("lost_count", OVERALL_COUNT),
    "push_loss_by_platform": ("lost_count", PLATFORM_COUNT),
    "push_loss_by_code": ("lost_count", PLATFORM_COUNT),
    "push_loss_by_category": ("lost_count", PLATFORM_COUNT),
    "push_loss_by_owner": ("lost_count", PLATFORM_COUNT),
    "push_loss_pareto": ("lost_count", PLATFORM_COUNT),
    "push_loss_residual": ("overall_count", OVERALL_COUNT),
}


@pytest.mark.parametrize("view", SUMS)
def test_nothing_is_counted_twice(view: str) -> None:
    """A view adds up to the losses of one scope, and to no other number."""
    column, expected = SUMS[view]

    assert [(expected,)] == told(view, columns=f"sum({column})")


def test_split_by_stage() -> None:
    """Where stages are columns, they add up to the whole."""
    whole = "sum(ready_to_send_count + post_send_delivered_count)"

    for view in ("by_day", "by_app", "by_platform"):
        expected = SUMS[f"push_loss_{view}"][1]
        assert [(expected,)] == told(f"push_loss_{view}", columns=whole)


def test_a_renamed_app() -> None:
    """An app has one name in every view and on every day, that of today."""
    tables = {**WORLD, "apps": [an_app(app="boutique"), an_app(**CHAT)]}

    for view in set(SUMS) - {"push_loss_by_day"}:
        names = {name for (name,) in told(view, tables, columns="app")}
        assert {"boutique", "chat"} == names, view


@pytest.mark.parametrize(
    "view",
    [
        *(f"push_loss_by_{part}" for part in ("day", "app", "stage", "platform")),
        *(f"push_loss_by_{part}" for part in ("code", "category", "owner")),
        "push_loss_residual",
    ],
)
def test_a_filter_on_the_day_reaches_the_table(view: str) -> None:
    """Who asks a view for one day pays for one day."""
    question = f"explain (format json) from {view} where loss_date = '2026-03-09'"
    with holding(WORLD, with_views=True) as connection:
        ((_, plan),) = connection.execute(question).fetchall()
    filters = [
        str(scan["extra_info"].get("Filters"))
        for scan in scans(json.loads(plan)[0])
        if scan["extra_info"].get("Table", "").endswith("push_loss")
    ]

    assert filters
    assert [] == [each for each in filters if "loss_date=" not in each]


def scans(node: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The parts of a plan that read something."""
    yield node
    for child in node.get("children", []):
        yield from scans(child)
