"""Runs of a part: one asset, one app; and what a part can lack."""

import sys

import dagster as dg
import pytest

from pushloss_pipeline.cli import main
from tests.defs.site import CHAT, LOSSES, RESPONSES, SHOP, Site, failure_of

WITH_FILE = ("push_loss_responses", "push_loss", "warehouse")


def test_losses_alone_are_a_replay(site: Site) -> None:
    """`push_loss` by itself is rebuilt from stored answers; nothing is asked."""
    (day,) = site.days(1)
    site.run([day])
    asked = site.asked()
    replay = site.run([day], select=["push_loss"])

    assert replay.success
    assert site.asked() == asked
    assert site.materialized(LOSSES, day)[0]["new revisions"] == 0
    assert len(site.materialized(RESPONSES, day)) == 1


def test_a_replay_names_days_that_have_no_answer(site: Site) -> None:
    """A day that was never asked for fails the replay, with the command to run."""
    (day,) = site.days(1)
    replay = site.run([day], select=["push_loss"])

    assert f"run `pushloss load {day} {day} --app shop`" in told(replay)
    assert site.partitions(LOSSES, [day]) == ["FAILED"]
    assert site.asked() == []


def test_responses_alone_are_stored_unjudged(site: Site) -> None:
    """`push_loss_responses` by itself keeps answers; `push_loss` makes rows of them."""
    days = site.days(2)
    asking = site.run(days, select=["push_loss_responses"])

    assert asking.success
    assert site.partitions(RESPONSES, days) == ["MATERIALIZED"] * 2
    assert site.partitions(LOSSES, days) == [None, None]
    assert not (site.folder / "data" / "warehouse.duckdb").exists()

    judging = site.run(days, select=["push_loss"])

    assert judging.success
    assert len(site.loaded()) == len(site.asked()) == 4


def test_only_the_named_apps_are_asked(site: Site) -> None:
    """`apps` of the run's configuration names who is asked."""
    (day,) = site.days(1)
    run = site.run([day], apps=["chat"])

    assert run.success
    assert site.asked() == [(CHAT.sdk_app_id, str(day))]


@pytest.mark.parametrize(
    "tags", [None, "dagster/partition"], ids=["a range", "a single day"]
)
def test_a_day_is_green_once_all_apps_are_done(site: Site, tags: str | None) -> None:
    """A run for one app ends well; its day waits for the other app, and says so."""
    (day,) = site.days(1)
    of_day = {tags: day.isoformat()} if tags else None
    first = site.run([day], select=WITH_FILE, tags=of_day, apps=["shop"])
    (shown,) = site.observed(LOSSES, day)

    assert first.success
    assert site.partitions(LOSSES, [day]) == site.partitions(RESPONSES, [day]) == [None]
    assert f"**chat {day}** no answer is stored" in shown["apps not done"]
    assert shown["good apps"] == 1
    assert failed_checks(site, first) == {"every_app_is_present": "ERROR"}
    assert site.loaded() == [("shop", day)]
    assert (site.folder / "data" / "report" / "index.html").exists()

    second = site.run([day], select=WITH_FILE, tags=of_day, apps=["chat"])

    assert second.success
    assert site.partitions(LOSSES, [day]) == ["MATERIALIZED"]
    assert site.partitions(RESPONSES, [day]) == ["MATERIALIZED"]


def test_the_command_ends_well_for_one_app(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`pushloss load --app` ends with 0 though the day waits for the other app."""
    (day,) = site.days(1)
    command = ["pushloss", "load", str(day), str(day), "--app", "shop"]
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(SystemExit) as ended:
        main()

    assert ended.value.code == 0
    assert site.partitions(LOSSES, [day]) == [None]
    assert site.loaded() == [("shop", day)]


def test_a_run_for_one_app_leaves_a_red_day_red(site: Site) -> None:
    """Days that the other app has are green; the one it was refused stays red."""
    days = site.days()
    site.refuse(days[1], CHAT)
    site.run(days)
    before = site.partitions(LOSSES, days)
    run = site.run(days, apps=["shop"])

    assert run.success
    assert before == ["MATERIALIZED", "FAILED", "MATERIALIZED"]
    assert site.partitions(LOSSES, days) == before
    assert [len(site.materialized(LOSSES, day)) for day in days] == [2, 0, 2]
    assert "refused: 60002" in site.observed(LOSSES, days[1])[0]["apps not done"]


def test_an_unknown_app_is_told_with_a_suggestion(site: Site) -> None:
    """A wrong name in the run's configuration fails before anything is asked."""
    run = site.run(site.days(1), apps=["shopp"])

    assert "no app is called 'shopp'; did you mean shop?" in told(run)
    assert site.asked() == []


def test_a_missing_key_is_told(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no app has its key the step fails, naming the variable to set."""
    monkeypatch.delenv("SITE_KEY_shop")
    run = site.run(site.days(1), apps=["shop"])

    assert "the variable SITE_KEY_shop is not set" in told(run)


def test_one_app_without_its_key_harms_no_other(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The app with a key is loaded; the other is told in the failure."""
    monkeypatch.delenv("SITE_KEY_shop")
    (day,) = site.days(1)
    run = site.run([day])

    assert f"shop {day} not asked: app shop: the variable" in told(run)
    assert site.loaded() == [("chat", day)]


def test_a_held_day_is_red_and_keeps_its_rows(site: Site) -> None:
    """An answer without rows for a day that has rows waits for a decision."""
    (day,) = site.days(1)
    site.run([day])
    rows = site.query("select count(*) from push_loss").rows
    site.answer(day, SHOP, empty=True)
    held = site.run([day])

    assert f"`pushloss accept {day} --app shop`" in told(held)
    assert site.query("select count(*) from push_loss").rows == rows
    assert failed_checks(site, held) == {"no_answer_is_held": "ERROR"}


def failed_checks(site: Site, run: dg.ExecuteInProcessResult) -> dict[str, str]:
    """Names and severities of the run's failed checks."""
    return {
        evaluation.check_name: evaluation.severity.value
        for evaluation in site.evaluations(run.run_id)
        if not evaluation.passed
    }


def told(run: dg.ExecuteInProcessResult) -> str:
    """What the failed step of a run said."""
    return str(failure_of(run).description)
