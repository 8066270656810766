"""What the report tells is what the warehouse says, app by app and together."""

from datetime import timedelta

import pytest

from pushloss_pipeline.domain.errors import StoreError
from pushloss_pipeline.report.day_notes import note_days
from pushloss_pipeline.report.model import AppReport, Report
from pushloss_pipeline.reporting import OWN_PARTS, gather, write_report
from pushloss_pipeline.simulator.scenario import many_apps
from tests.world import NOW, World, WorldBuilder


def two_weeks(world: World) -> Report:
    """The report after both weeks were loaded as their days went by."""
    world.now = NOW - timedelta(days=7)
    world.simulator.set_now(world.now)
    world.load()
    world.now = NOW
    world.simulator.set_now(world.now)
    world.load()
    return gather(world.parts)


def test_the_parts_of_all_apps_add_up(world: World):
    """Days, codes, portions, residuals and changes: all together is their sum."""
    together, *parts = two_weeks(world).apps

    assert together.app is None and set(world.names) == {part.app for part in parts}
    for figure in (
        lambda part: [day.lost_count for day in part.days],
        lambda part: [sum(p.lost_count for p in part.categories)],
        lambda part: [sum(p.before_count for p in part.owners)],
        lambda part: [sum(p.lost_count for p in part.platform_days)],
        lambda part: [sum(r.residual_count for r in part.residuals)],
        lambda part: [part.change.before_count, part.change.after_count],
        lambda part: [part.change.compared_days, part.change.wanted_days],
    ):
        summed = [sum(some) for some in zip(*map(figure, parts), strict=True)]
        assert summed == figure(together)


def test_the_figures_are_those_of_the_api(world: World):
    """What the simulator served, summed by hand, is what the report tells."""
    together = two_weeks(world).apps[0]
    week = [row for row in world.truth() if row[3] == "overall"]
    by_day = {day: sum(row[-1] for row in week if row[1] == day) for day in world.days}

    assert by_day == {day.loss_date: day.lost_count for day in together.days[-7:]}
    assert sum(by_day.values()) == together.change.after_count
    assert 14 == len(together.days)
    assert [True] * 3 == [day.is_young for day in together.days[-3:]]
    assert not together.days[-5].is_young


def test_the_cells_add_up_to_the_change(world: World):
    """Exactly: residual cells hold what no platform explains."""
    for part in two_weeks(world).apps:
        cells = part.change.cells
        change = sum(cell.change_count for cell in cells)

        assert part.change.change_count == change
        assert any(not cell.code.platform for cell in cells)
        assert (21 if part.app is None else 7) == part.change.compared_days


def test_codes_are_ranked_and_explained(world: World):
    """Shares are of all platforms' losses; the running share goes up to them all."""
    part = two_weeks(world).apps[0]
    counts = [code.lost_count for code in part.top_codes]
    total = sum(portion.lost_count for portion in part.categories)

    assert sorted(counts, reverse=True) == counts
    assert counts[0] / total == part.top_codes[0].share
    assert sum(counts) / total == pytest.approx(part.top_codes[-1].cumulative_share)
    assert all(code.code.meaning and code.code.owner for code in part.top_codes)


def test_days_that_are_not_well_are_told(world: World):
    """A missing, a refused and a held day stand with their app and reason."""
    shop, *_ = world.names
    world.load(days=world.days[:-1])
    world.simulator.script([{"error_code": 70009, "error_info": "key", "times": None}])
    world.load([shop], [world.days[2]])
    together = gather(world.parts).apps[0]
    problems = {day.loss_date: (day.state, day.problem) for day in together.days}

    assert ("refused", f"{shop}: refused 70009 key") == problems[world.days[2]]
    assert "never asked" == problems[world.days[-1]][0]
    assert None is together.days[-1].lost_count
    assert together.days[2].lost_count


def test_days_that_can_still_be_asked_for_are_told(world: World):
    """An app asked for the newest day only misses all the others the API tells."""
    shop, other, _ = world.names
    world.load([shop], [world.days[-1]])
    world.load([other])
    parts = {part.app: part for part in gather(world.parts).apps}

    assert list(world.days) == [day.loss_date for day in parts[shop].days]
    assert ["never asked"] * 6 == [day.state for day in parts[shop].days[:6]]
    assert [2] * 6 + [1] == [day.missing_app_count for day in parts[None].days]
    assert all(day.is_askable for day in parts[None].days)


def test_one_apps_held_day_hides_no_other_that_is_missing(world: World):
    """Each app's trouble has its own line and command."""
    shop, chat, _ = world.names
    world.load()
    world.simulator.script([{"empty": True, "times": None}])
    world.load([shop], [world.days[0]])
    world.simulator.script([{"error_code": 70009, "error_info": "k", "times": None}])
    world.load([chat], [world.days[0]])
    report = gather(world.parts)
    notes = {note.title: note.command for note in note_days(report.apps[0], report)}

    day = world.days[0]
    assert f"pushloss accept {day} --app {shop}" == notes["Held"]
    assert f"pushloss load {day} {day} --app {chat} --missing" == notes["Refused"]
    assert report.apps[0].days[0].is_whole


def test_of_many_apps_only_the_greatest_have_a_part(world_of: WorldBuilder):
    """The others are named, and counted in what is told of all together."""
    world = world_of(many_apps(OWN_PARTS + 2, seed=3))
    world.load(days=world.days[-1:])
    report = gather(world.parts)
    (lost,) = world.rows("select sum(lost_count) from push_loss_by_app")

    told = [part.app for part in report.apps[1:]]
    assert OWN_PARTS == len(told) and 2 == len(report.left_out)
    assert set(world.names) == {*told, *report.left_out}
    assert lost[0] == report.apps[0].days[-1].lost_count
    assert _week(report.apps[1]) >= _week(report.apps[-1])


def _week(part: AppReport) -> int:
    return sum(day.lost_count or 0 for day in part.days)


def test_a_warehouse_without_a_day_has_a_report(world: World):
    """Nothing is loaded: the page says so instead of breaking."""
    world.load(days=[])
    written = write_report(world.parts)

    assert 0 == written.lost_count
    assert "pushloss load" in written.path.read_text(encoding="utf-8")


def test_a_report_that_cannot_be_written_leaves_nothing(world: World):
    """The error says where; the folder is as it was."""
    world.load(days=[])
    (world.folder / "taken").touch()

    with pytest.raises(StoreError, match="cannot write the report"):
        write_report(world.parts, world.folder / "taken" / "index.html")


def test_an_app_that_was_removed_is_not_missing(world: World):
    """Its days up to the removal stand in all apps; it has no part of its own."""
    world.now = NOW - timedelta(days=7)
    world.simulator.set_now(world.now)
    world.load()
    gone, *others = world.names
    text = (world.folder / "pushloss.toml").read_text()
    tables = text.split("[apps.")
    kept = [table for table in tables if not table.startswith(f"{gone}]")]
    (world.folder / "pushloss.toml").write_text("[apps.".join(kept))
    world.now = NOW
    world.simulator.set_now(world.now)
    world.load(others)
    report = gather(world.parts)
    parts = {part.app: part for part in report.apps}

    assert {"loaded"} == {day.state for part in report.apps for day in part.days}
    assert gone not in parts
    assert [0] * 14 == [day.missing_app_count for day in parts[None].days]
    assert 14 == len(parts[others[0]].days) == len(parts[None].days)
    assert 14 == parts[None].change.wanted_days
