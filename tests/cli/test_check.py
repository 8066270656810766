"""`pushloss check`: one call for each app, in words."""

import pytest


def test_good_apps_are_ticked(shop, pushloss):
    """One call per app, nothing stored."""
    ran = pushloss("check")

    assert 0 == ran.code and 3 == ran.out.count("✓")
    assert 3 == len(shop.calls())
    assert not (shop.folder / "data" / "lake").exists()


@pytest.mark.parametrize(
    ("script", "code", "words"),
    [
        ({"error_code": 70009, "error_info": "key mismatch"}, 2, "secret key"),
        ({"error_code": 60010, "error_info": "ip not allowed"}, 2, "IP allow list"),
        ({"error_code": 60026, "error_info": "wrong host"}, 2, "region or endpoint"),
        ({"error_code": 90045, "error_info": "not open"}, 2, "Push service"),
        ({"body": "<html>"}, 1, "not valid JSON"),
    ],
    ids=["key", "ip", "host", "service", "html"],
)
def test_what_is_wrong_is_said_with_how_to_mend_it(shop, pushloss, script, code, words):
    """Each refusal has its own advice; what a person must mend ends in exit 2."""
    shop.simulator.script([{"sdk_app_id": 1400100001, "times": None, **script}])

    ran = pushloss("check", "--app", "app_0001", "--app", "app_0000")

    assert code == ran.code
    assert words in ran.out and "✗ app_0001" in ran.out and "✓ app_0000" in ran.out


def test_a_missing_key_is_named(pushloss, monkeypatch):
    """An app without its variable is told apart from the others."""
    monkeypatch.delenv("KEY_APP_0001")

    ran = pushloss("check")

    assert 2 == ran.code and "KEY_APP_0001" in ran.out and 2 == ran.out.count("✓")
