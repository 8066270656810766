"""Rules, and which call uses them up."""

from datetime import date

import pytest

from pushloss_pipeline.simulator.script import (
    Rule,
    Script,
    ScriptError,
    read_rule,
    read_rules,
)

DAY = date(2026, 3, 11)


def test_rules_are_used_up_in_order() -> None:
    """Each rule is told as often as it says, then the next one."""
    rules = (Rule(error_code=1, times=2), Rule(error_code=2))
    script = Script(rules)
    told = [script.take(1, DAY) for _ in range(4)]

    assert told == [rules[0], rules[0], rules[1], None]


def test_a_rule_without_end_stays() -> None:
    """A rule with times null is told for ever."""
    script = Script((Rule(error_code=1, times=None),))

    assert all(script.take(1, DAY) for _ in range(50))


def test_a_rule_waits_for_its_app_and_day() -> None:
    """A rule for an app and a day leaves all other calls alone."""
    rule = Rule(sdk_app_id=1, day=DAY, error_code=9)
    script = Script((rule,))

    assert script.take(2, DAY) is None
    assert script.take(1, date(2026, 3, 10)) is None
    assert script.take(None, None) is None
    assert script.take(1, DAY) == rule


def test_a_rule_is_read_from_json_values() -> None:
    """Every condition and detail of a rule is read."""
    item = {
        "sdk_app_id": 1,
        "day": "2026-03-11",
        "times": None,
        "http_status": 503,
        "body_base64": "/w==",
        "headers": {"Retry-After": 2},
        "delay_seconds": 0.5,
    }

    assert read_rule(item) == Rule(
        sdk_app_id=1,
        day=DAY,
        times=None,
        http_status=503,
        body=b"\xff",
        headers=(("Retry-After", "2"),),
        delay_seconds=0.5,
    )


@pytest.mark.parametrize(
    "item",
    [
        "rule",
        {},
        {"times": 2},
        {"error_kode": 1},
        {"error_code": "90100"},
        {"error_code": 1, "empty": True},
        {"close": True, "body": ""},
        {"fault": "none of them"},
        {"fault": "http_502", "http_status": 502},
        {"body": "", "body_base64": ""},
        {"error_code": 1, "times": 0},
        {"error_code": 1, "day": "yesterday"},
        {"error_code": 1, "sdk_app_id": True},
        {"http_status": 500, "headers": ["Retry-After"]},
        {"body_base64": "?"},
        {"delay_seconds": "long"},
    ],
    ids=str,
)
def test_a_wrong_rule_is_refused(item: object) -> None:
    """A rule that cannot be understood is an error, not a guess."""
    with pytest.raises(ScriptError):
        read_rule(item)


def test_a_script_is_a_list() -> None:
    """One rule alone is not a script."""
    with pytest.raises(ScriptError, match="list"):
        read_rules({"error_code": 1})
