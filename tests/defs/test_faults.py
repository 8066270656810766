"""When more than a day goes wrong: the disk, the configuration, the whole API."""

from pushloss_pipeline.defs.ledger import WAREHOUSE
from tests.defs.site import CHAT, LOSSES, SHOP, Site, failure_of
from tests.trust.planted import places


def test_a_file_that_cannot_be_published_is_told(site: Site) -> None:
    """No day is called good before it is published; a replay asks nothing again."""
    days = site.days(2)
    obstacle = site.folder / "data" / "warehouse.duckdb.tmp"
    obstacle.mkdir(parents=True)
    run = site.run(days)
    asked = site.asked()

    assert "cannot publish" in str(failure_of(run).description)
    assert site.partitions(LOSSES, days) == ["FAILED", "FAILED"]

    obstacle.rmdir()
    replay = site.run(days, select=["push_loss"])

    assert replay.success
    assert len(site.loaded()) == 4
    assert site.asked() == asked


def test_the_first_fault_is_the_one_that_is_told(site: Site) -> None:
    """What ended the walk is told, though publishing failed after it too."""
    (site.folder / "data" / "warehouse.duckdb.tmp").mkdir(parents=True)
    (site.folder / "data" / "pacing.sqlite").mkdir()
    run = site.run(site.days(1))

    assert str(failure_of(run).description).startswith("pacing file")


def test_an_app_that_is_refused_stops_and_is_counted(site: Site) -> None:
    """An app without permission is asked once; its other days are told as not asked."""
    days = site.days()
    site.simulator.script(
        [{"sdk_app_id": SHOP.sdk_app_id, "error_code": 60010, "times": None}]
    )
    run = site.run(days)

    assert [app for app, _ in site.asked()] == [SHOP.sdk_app_id] + 3 * [CHAT.sdk_app_id]
    assert site.partitions(LOSSES, days) == ["FAILED"] * 3
    assert f"shop {days[2]} not asked: shop was refused" in str(
        failure_of(run).description
    )


def test_days_that_are_in_stay_green_when_they_cannot_be_asked(site: Site) -> None:
    """An app without permission makes red what is missing, not what it has."""
    days = site.days()
    site.run(days)
    site.simulator.script(
        [{"sdk_app_id": SHOP.sdk_app_id, "error_code": 60010, "times": None}]
    )
    run = site.run(days)

    assert not run.success
    assert site.partitions(LOSSES, days) == ["FAILED", "MATERIALIZED", "MATERIALIZED"]
    assert "not asked anew" in site.materialized(LOSSES, days[2])[0]
    (warehouse,) = site.materialized(WAREHOUSE)[:1]
    assert warehouse["changed app days"] >= 1


def test_no_fault_brings_a_secret_to_light(site: Site) -> None:
    """Neither key nor signature is in any file that a failing run leaves behind."""
    days = site.days()
    shop = SHOP.sdk_app_id
    site.simulator.script(
        [
            {"sdk_app_id": shop, "day": str(days[0]), "close": True},
            {"sdk_app_id": shop, "day": str(days[1]), "http_status": 404},
            {"sdk_app_id": shop, "day": str(days[2]), "error_code": 70003, "times": 2},
            {"sdk_app_id": CHAT.sdk_app_id, "error_code": 70013},
        ]
    )
    run = site.run(days)

    assert not run.success
    assert [] == places(site.folder, [SHOP.secret_key, CHAT.secret_key])
