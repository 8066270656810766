"""Wrong usage and configuration: exit 2, one message, nothing asked."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from pushloss_pipeline.cli import app

Run = Callable[..., Any]
COMMANDS = sorted(command.callback.__name__ for command in app.registered_commands)


@pytest.fixture(autouse=True)
def _nothing_is_asked(shop):
    """No test of this file may reach the API."""
    yield
    assert [] == shop.calls()


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_help_with_an_example(pushloss, command):
    """`--help` says what the command does and shows a call of it."""
    ran = pushloss(command, "--help")

    assert 0 == ran.code
    assert "Example:" in ran.out
    assert f"pushloss {command}" in ran.out.split("Example:")[1]


def test_a_day_that_is_not_over_is_refused(pushloss, week):
    """Today is not asked for; the message names the newest complete day."""
    today = week[-1] + timedelta(days=1)

    ran = pushloss("load", str(week[0]), str(today))

    assert 2 == ran.code and str(today) in ran.err and str(week[-1]) in ran.err


def test_a_far_future_is_refused(pushloss):
    """A slip in the year costs nothing."""
    ran = pushloss("load", "2099-01-01", "2099-01-02")

    assert 2 == ran.code and "not over" in ran.err


def test_days_in_the_wrong_order_are_refused(pushloss, week):
    """FROM after TO is a slip, not an empty load."""
    ran = pushloss("load", str(week[-1]), str(week[0]))

    assert 2 == ran.code and "after" in ran.err


def test_a_day_before_the_start_is_refused(pushloss, week):
    """Days before start_date are no partitions; the message says what to change."""
    ran = pushloss("load", "2000-01-01", str(week[0]))

    assert 2 == ran.code and "start_date" in ran.err


def test_something_that_is_no_date_is_refused(pushloss, week):
    """A malformed date names the format."""
    ran = pushloss("load", "16.11.2026", str(week[0]))

    assert 2 == ran.code and "2026-03-01" in ran.err


def test_an_unknown_app_is_refused_with_a_suggestion(pushloss, week):
    """A misspelt app names its neighbour."""
    ran = pushloss("load", str(week[0]), str(week[0]), "--app", "app_001")

    assert 2 == ran.code and "did you mean app_0001" in ran.err


def test_a_key_in_place_of_a_name_is_a_message_without_it(pushloss, shop, week):
    """Pasted by mistake, it is wrong usage as any other, and is not quoted."""
    key = next(value for name, value in shop.environment.items() if "KEY_" in name)

    ran = pushloss("load", str(week[0]), str(week[0]), "--app", key)

    assert 2 == ran.code and "no app is called '***'" in ran.err
    assert key not in ran.err and "Traceback" not in ran.err


def test_a_missing_configuration_says_how_to_make_one(pushloss, shop):
    """Without a file the message names the example to copy."""
    shop.config.unlink()

    ran = pushloss("status")

    assert 2 == ran.code and "pushloss.example.toml" in ran.err


def test_missing_keys_name_their_variable(pushloss, week, monkeypatch):
    """Where no app has its key, the first variable is named."""
    for number in range(3):
        monkeypatch.delenv(f"KEY_APP_000{number}")

    ran = pushloss("load", str(week[0]), str(week[0]))

    assert 2 == ran.code and "KEY_APP_0000" in ran.err


def test_sql_before_any_load_says_what_to_do(pushloss):
    """Without a warehouse the message names the command that makes one."""
    ran = pushloss("sql", "select 1")

    assert 1 == ran.code and "pushloss load" in ran.err


def test_status_before_any_load_shows_what_was_never_asked(pushloss, week):
    """Status needs no warehouse."""
    ran = pushloss("status", "--app", "app_0000")

    assert 0 == ran.code and len(week) == ran.out.count("never asked")


def test_expired_and_never_asked_days_have_no_place_in_replay(pushloss, week):
    """Replay of days without a stored answer says so and ends in exit 1."""
    ran = pushloss("replay", str(week[0]), str(week[0]), "--app", "app_0000")

    assert 1 == ran.code and "no answer is stored" in ran.out


def test_an_unknown_fault_is_refused(pushloss):
    """Nothing is served; the message lists the faults that there are."""
    ran = pushloss("simulate", "--faults", "http_502,oops")

    assert 2 == ran.code and "'oops'" in ran.err and "gzip_bomb" in ran.err


def test_faults_are_listed(pushloss):
    """`--faults list` says what each does, and serves nothing."""
    ran = pushloss("simulate", "--faults", "list")

    assert 0 == ran.code
    assert "answers 502 with an HTML page" in ran.out
    assert "error_code_60011" in ran.out
