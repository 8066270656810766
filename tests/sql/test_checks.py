"""Each check is silent on good rows and loud on the fault it is for."""

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any

import pytest

from pushloss_pipeline.adapters.sql_files import (
    SQL_FOLDER,
    read_statement,
    read_statements,
)
from tests.sql.rows import (
    DAY,
    NOW,
    Row,
    a_day,
    a_loss,
    an_app,
    answer,
    holding,
    of_platform,
)

OTHER_DAY = date(2026, 3, 10)

SEVERITIES = {
    "answer_has_the_known_shape": "warn",
    "counts_are_positive": "fail",
    "every_app_is_present": "fail",
    "key_is_unique": "fail",
    "no_answer_is_held": "fail",
    "no_day_expires_soon": "warn",
    "no_row_came_twice": "warn",
    "platforms_are_known": "warn",
    "platforms_explain_overall": "warn",
    "rows_equal_the_marker": "fail",
    "stage_scope_platform_agree": "fail",
}

GOOD = [a_loss(), of_platform()]


def found(
    check: str,
    losses: Sequence[Row] = GOOD,
    days: Sequence[Row] | None = None,
    apps: Sequence[Row] = (an_app(),),
) -> list[Row]:
    """The bad rows that a check finds in these tables."""
    if days is None:
        days = [a_day(row_count=len(losses))]
    rows = {"push_loss": losses, "push_loss_days": days, "apps": apps}
    with holding(rows) as connection:
        text = read_statement("checks", check).text
        given = {"day": DAY, "now": NOW}
        named = {name: each for name, each in given.items() if f"${name}" in text}
        return answer(connection, text, named)


def test_all_are_here() -> None:
    """The folder holds these checks and no other."""
    assert SEVERITIES == {
        check.name: check.labels["Severity"] for check in read_statements("checks")
    }


@pytest.mark.parametrize(
    "path",
    sorted(SQL_FOLDER.rglob("*.sql")),
    ids=lambda path: f"{path.parent.name}/{path.stem}",
)
def test_headers(path: Any) -> None:
    """Every file says what it is about, what it reads, and its grain or severity."""
    statement = read_statement(path.parent.name, path.stem)

    assert statement.about.endswith(".")
    assert statement.labels["Reads"]
    assert ("Severity" if path.parent.name == "checks" else "Grain") in statement.labels


@pytest.mark.parametrize("check", SEVERITIES)
def test_silent_on_good_rows(check: str) -> None:
    """A good day passes every check."""
    assert [] == found(check)


@pytest.mark.parametrize("check", SEVERITIES)
def test_silent_on_an_empty_day(check: str) -> None:
    """A day without losses passes every check."""
    empty = a_day(state="empty", row_count=0, overall_count=0)

    assert [] == found(check, [], [empty])


@pytest.mark.parametrize("check", SEVERITIES)
def test_silent_on_another_days_faults(check: str) -> None:
    """The faults of another day are not this day's."""
    losses = [
        a_loss(loss_date=OTHER_DAY, err_count=-1, stage="lost"),
        a_loss(loss_date=OTHER_DAY, err_count=-1, stage="lost"),
        of_platform(loss_date=OTHER_DAY, platform_id=99, platform="x", err_count=99),
    ]
    held = a_day(
        loss_date=OTHER_DAY, state="held", warnings=["duplicate_row: x", "y: z"]
    )

    assert [] == found(check, [*GOOD, *losses], [a_day(), held])


def in_short(rows: Sequence[Row], *names: str) -> list[tuple[Any, ...]]:
    """Some columns of some rows."""
    return sorted(tuple(row[name] for name in names) for row in rows)


def test_key_is_unique() -> None:
    """A key that stands twice is found, overall (where its platform is NULL) too."""
    twice = [a_loss(err_count=1), of_platform(), of_platform(err_count=2)]

    assert [("overall", 2), ("platform", 3)] == in_short(
        found("key_is_unique", [*GOOD, *twice]), "scope", "row_count"
    )


@pytest.mark.parametrize(
    "changed",
    [{"sdk_app_id": 2}, {"stage": "post_send_delivered"}, {"err_code": "1"}],
    ids=["app", "stage", "code"],
)
def test_keys_that_differ(changed: Row) -> None:
    """Rows that differ in one part of the key are two keys."""
    assert [] == found("key_is_unique", [a_loss(), a_loss(**changed)])


@pytest.mark.parametrize("count", [0, -1])
def test_counts_are_positive(count: int) -> None:
    """A count of nothing, or of less, is found."""
    bad = found("counts_are_positive", [*GOOD, a_loss(err_code="7", err_count=count)])

    assert [("shop", "7", count)] == in_short(bad, "app", "err_code", "err_count")


@pytest.mark.parametrize(
    "row",
    [
        a_loss(stage="sent"),
        a_loss(scope="all"),
        a_loss(scope="platform"),
        a_loss(platform_id=1, platform="apns"),
        a_loss(platform="apns"),
        of_platform(platform="xiaomi"),
        of_platform(platform=None),
        of_platform(platform_id=9, platform="apns"),
        of_platform(platform_id=9, platform="platform_10"),
        of_platform(scope="overall"),
    ],
    ids=[
        "stage",
        "scope",
        "platform without number",
        "overall of a platform",
        "overall with a name",
        "another's name",
        "no name",
        "known name of an unknown number",
        "another number's name",
        "platform in overall",
    ],
)
def test_stage_scope_platform_agree(row: Row) -> None:
    """A row whose stage, scope and platform contradict each other is found."""
    assert 1 == len(found("stage_scope_platform_agree", [*GOOD, row]))


def test_unknown_platform_agrees() -> None:
    """A number that the vendor's page does not list has its own name."""
    row = of_platform(platform_id=9, platform="platform_9")

    assert [] == found("stage_scope_platform_agree", [row])


@pytest.mark.parametrize(
    ("losses", "days"),
    [
        (GOOD, [a_day(row_count=3)]),
        (GOOD, [a_day(overall_count=11)]),
        (GOOD, []),
        ([], [a_day()]),
        (GOOD, [a_day(row_count=0, overall_count=0, state="empty")]),
    ],
    ids=["rows", "losses", "no marker", "no rows", "rows of an empty day"],
)
def test_rows_equal_the_marker(losses: Sequence[Row], days: Sequence[Row]) -> None:
    """A day that holds other rows than its marker says is found."""
    assert [(1,)] == in_short(
        found("rows_equal_the_marker", losses, days), "sdk_app_id"
    )


def test_half_a_day_is_found() -> None:
    """The app whose rows are not all there is found, and only that one."""
    losses = [*GOOD, a_loss(sdk_app_id=2, app="chat")]
    days = [a_day(), a_day(sdk_app_id=2, app="chat")]

    assert [(2, 2, 1)] == in_short(
        found("rows_equal_the_marker", losses, days),
        "sdk_app_id",
        "marked_rows",
        "loaded_rows",
    )


@pytest.mark.parametrize(
    ("days", "state"),
    [
        ([], "never asked for"),
        ([a_day(loss_date=OTHER_DAY)], "never asked for"),
        ([a_day(state="failed", revision=0)], "failed"),
        ([a_day(state="refused", revision=0)], "refused"),
        ([a_day(state="expired", revision=0)], "expired"),
    ],
    ids=["nothing", "other day", "failed", "refused", "expired"],
)
def test_every_app_is_present(days: Sequence[Row], state: str) -> None:
    """A configured app without an accepted answer is found, with its state."""
    bad = found("every_app_is_present", [], days)

    assert [("shop", state)] == in_short(bad, "app", "state")


def test_apps_that_need_not_be_present() -> None:
    """Not missed is an app that was taken out, or whose newest answer was no good."""
    apps = [an_app(), an_app(sdk_app_id=2, app="gone", is_configured=False)]

    for state in ("held", "failed", "refused"):
        assert [] == found("every_app_is_present", GOOD, [a_day(state=state)], apps)


def test_no_answer_is_held() -> None:
    """A held day is found, with what is held."""
    bad = found("no_answer_is_held", GOOD, [a_day(state="held", error_info="no rows")])

    assert [("shop", 2, "no rows")] == in_short(bad, "app", "row_count", "error_info")


@pytest.mark.parametrize(
    ("platform_count", "residual"),
    [(11, -1), (4, 6), (0, 10)],
    ids=["more than overall", "less than half", "nothing"],
)
def test_platforms_explain_overall(platform_count: int, residual: int) -> None:
    """A stage whose platforms do not come near its overall count is found."""
    losses = [a_loss(), of_platform(err_count=platform_count)]
    losses += [
        a_loss(stage="post_send_delivered"),
        of_platform(stage="post_send_delivered"),
    ]
    bad = found("platforms_explain_overall", losses)

    assert [("ready_to_send", residual)] == in_short(bad, "stage", "residual_count")


@pytest.mark.parametrize("platform_count", [10, 5])
def test_a_residual_is_normal(platform_count: int) -> None:
    """Up to half of the losses may belong to no platform."""
    losses = [a_loss(), of_platform(err_count=platform_count)]

    assert [] == found("platforms_explain_overall", losses)


def test_huge_counts() -> None:
    """Sums of the widest counts are still told exactly."""
    huge = 2**63 - 1
    losses = [a_loss(err_count=huge), of_platform(err_count=huge)]
    days = [a_day(overall_count=huge)]

    for check in ("platforms_explain_overall", "rows_equal_the_marker"):
        assert [] == found(check, losses, days)


def test_platforms_are_known() -> None:
    """An unknown platform is found once, with its losses."""
    rows = [of_platform(platform_id=9, platform="platform_9", err_code=c) for c in "ab"]

    assert [("shop", 9, 20)] == in_short(
        found("platforms_are_known", [*GOOD, *rows]), "app", "platform_id", "err_count"
    )


WARNINGS = [
    "duplicate_row: ready_to_send overall code 1 stands 2 times",
    "unknown_platform: $.PlatformReadyToSendLoss[].PushPlatform is 9",
    "unknown_field: $.Novel",
    "missing_array: $.ReadyToSendLoss is null",
    "text_number: $.ReadyToSendLoss[].ErrCount",
]


@pytest.mark.parametrize(
    ("check", "expected"),
    [("no_row_came_twice", WARNINGS[:1]), ("answer_has_the_known_shape", WARNINGS[2:])],
)
def test_warnings(check: str, expected: Sequence[str]) -> None:
    """Each warning of an answer is found by the one check that it is for."""
    bad = found(check, days=[a_day(warnings=WARNINGS)])

    assert sorted(expected) == [warning for (warning,) in in_short(bad, "warning")]


def expiring(days_left: float, **changed: Any) -> Row:
    """The day, of which the API tells so many days more."""
    return a_day(**changed, expires_at=NOW + timedelta(days=days_left))


@pytest.mark.parametrize("state", ["failed", "refused", "held"])
def test_no_day_expires_soon(state: str) -> None:
    """A day without a good answer is found in the last days that the API tells it."""
    earlier = a_day(loss_date=OTHER_DAY)
    for days_left, expected in ((3, 3), (2.1, 3), (2, 2), (0.001, 1)):
        day = expiring(days_left, state=state, revision=0)
        bad = found("no_day_expires_soon", [], [earlier, day])

        assert [{"app": "shop", "state": state, "days_left": expected}] == bad


@pytest.mark.parametrize("days_left", [-1, 0, 3.001], ids=["past", "just past", "far"])
def test_days_that_do_not_expire_soon(days_left: float) -> None:
    """Not found is a day that can be asked for long, or no more."""
    days = [a_day(loss_date=OTHER_DAY), expiring(days_left, state="failed", revision=0)]

    assert [] == found("no_day_expires_soon", [], days)


def test_a_day_never_asked_for_expires() -> None:
    """Found is what nobody asked for, be it that no app's row tells of the day."""
    chat = {"sdk_app_id": 2, "app": "chat"}
    apps = [an_app(), an_app(**chat), an_app(sdk_app_id=3, app="new")]
    before = [a_day(loss_date=OTHER_DAY), a_day(**chat, loss_date=OTHER_DAY)]
    alone = found("no_day_expires_soon", [], [*before, expiring(2)], apps)
    soon = [{**day, "expires_at": NOW + timedelta(days=1)} for day in before]
    nobody = found("no_day_expires_soon", [], soon, apps)

    assert [("chat", "never asked for", 2)] == in_short(alone, *alone[0])
    assert [("chat", 2), ("shop", 2)] == in_short(nobody, "app", "days_left")


def test_days_that_are_not_missed_when_they_expire() -> None:
    """Not found are days before an app's first, nor those of an app taken out."""
    days = [
        a_day(loss_date=OTHER_DAY, state="expired", revision=0),
        a_day(loss_date=DAY + timedelta(days=1)),
        a_day(sdk_app_id=2, loss_date=OTHER_DAY),
        expiring(2, sdk_app_id=2, state="failed", revision=0),
    ]
    apps = [an_app(), an_app(sdk_app_id=2, is_configured=False)]

    assert [] == found("no_day_expires_soon", [], days, apps)
