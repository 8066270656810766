"""What push_loss_anomalies says of quiet weeks, and of what is planted in them.

Run as `python -m benchmarks.false_alarms`; it takes three minutes or four.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, date, datetime, timedelta
from typing import Any

import duckdb
import pyarrow as pa
from rich.console import Console
from rich.table import Table

from pushloss_pipeline.adapters.sql_files import read_statement
from pushloss_pipeline.domain.tables import ERROR_CODES, PUSH_LOSS, PUSH_LOSS_DAYS
from pushloss_pipeline.simulator.scenario import (
    Incident,
    Scenario,
    SimulatedApp,
    demo_scenario,
    many_apps,
)
from pushloss_pipeline.simulator.truth import day_truth

SEEDS = (1, 2, 3)
APP_COUNT = 20
MONTHS = 7
MONTH_DAYS = 28
"""Days that one look at the view judges."""
PAST_DAYS = 62
"""Days before them that it looks at."""
PLANTED_DAYS = 7
"""Of each month: so few that nothing planted is in a baseline."""
LAST_DAY = date(2026, 9, 30)
DEMO_DAY = date(2026, 6, 1)
LONG_AFTER = datetime(2030, 1, 1, tzinfo=UTC)
"""When late counts are in: every day is told as it ends."""

NOISES = (0.0, 0.1, 0.2, 0.3, 0.5)
FACTORS = (0.0, 0.5, 1.5, 2.0, 3.0, 5.0, 10.0, 100.0)
PLANT_NOISE = 0.2
PLANT_MONTHS = 4
TARGETS = {
    "code, 50-199": ("code", 50, 200),
    "code, 200-999": ("code", 200, 1000),
    "code, 1000 on": ("code", 1000, 10**9),
    "platform, 200 on": ("platform", 200, 10**9),
    "app": ("app", 0, 10**9),
}
"""What is planted: its level, and its usual daily count, from and below."""
OUTCOMES = ("at it", "above it", "below it", "otherwise", "missed")
"""Where its one alarm is; otherwise: several, or one elsewhere."""

VIEW = read_statement("views", "push_loss_anomalies").text

# The simulator's noise is even and bounded; that of the world is neither.
NOISE = """
create temp table factors as
with keys as (
    select
        sdk_app_id, loss_date, stage, platform_id, err_code,
        concat_ws('/', sdk_app_id, loss_date) as day_key,
        concat_ws('/', day_key, stage, platform_id, err_code) as code_key
    from told_losses
    where scope = 'platform'
),
draws as (
    select
        *,
        sqrt(-2 * ln((hash(day_key || '?') + 1.0) / 2.0 ** 64))
        * cos(2 * pi() * hash(day_key || '!') / 2.0 ** 64) as of_day,
        sqrt(-2 * ln((hash(code_key || '?') + 1.0) / 2.0 ** 64))
        * cos(2 * pi() * hash(code_key || '!') / 2.0 ** 64) as of_code
    from keys
)
select
    sdk_app_id, loss_date, stage, platform_id, err_code,
    exp($noise * (of_code + of_day / 2)) as factor
from draws
"""

PLANT = """
create temp table targets as
with day_counts as (
    select
        sdk_app_id, loss_date,
        case when $level <> 'app' then stage end as stage,
        case when $level <> 'app' then platform_id end as platform_id,
        case when $level = 'code' then err_code end as err_code,
        sum(err_count) as lost_count
    from told_losses
    where scope = 'platform'
    group by all
),
usual as (
    select sdk_app_id, stage, platform_id, err_code
    from day_counts
    group by all
    having median(lost_count) >= $least and median(lost_count) < $below
)
select usual.*, days.loss_date
from usual
inner join told_days as days using (sdk_app_id)
where days.loss_date > $last_day - $planted_days and days.loss_date <= $last_day
qualify row_number() over (
    partition by sdk_app_id, loss_date
    order by hash(loss_date, sdk_app_id, stage, platform_id, err_code)
) = 1;

create temp table factors as
select
    losses.sdk_app_id, losses.loss_date, losses.stage, losses.platform_id,
    losses.err_code, $factor as factor
from told_losses as losses
inner join targets
    on losses.sdk_app_id = targets.sdk_app_id
    and losses.loss_date = targets.loss_date
    and coalesce(losses.stage = targets.stage, true)
    and coalesce(losses.platform_id = targets.platform_id, true)
    and coalesce(losses.err_code = targets.err_code, true)
where losses.scope = 'platform'
"""

CHANGE = """
update told_losses
set err_count = told_losses.err_count + changes.change
from (
    select
        sdk_app_id, loss_date, stage, err_code,
        sum(round(err_count * factor) - err_count) as change
    from told_losses
    inner join factors
        using (sdk_app_id, loss_date, stage, platform_id, err_code)
    group by all
) as changes
where
    scope = 'overall'
    and told_losses.sdk_app_id = changes.sdk_app_id
    and told_losses.loss_date = changes.loss_date
    and told_losses.stage = changes.stage
    and told_losses.err_code = changes.err_code;

update told_losses
set err_count = round(err_count * factor)
from factors
where
    scope = 'platform'
    and told_losses.sdk_app_id = factors.sdk_app_id
    and told_losses.loss_date = factors.loss_date
    and told_losses.stage = factors.stage
    and told_losses.platform_id = factors.platform_id
    and told_losses.err_code = factors.err_code;

delete from told_losses where err_count <= 0;

drop table factors
"""

Node = tuple[Any, ...]
"""sdk_app_id, loss_date, stage, platform_id, err_code; None below the level."""


class World:
    """Simulated apps in a database, of which a look sees the days up to one day."""

    def __init__(self, scenario: Scenario, last_day: date, day_count: int) -> None:
        days = [last_day - timedelta(days=back) for back in range(day_count)]
        self.connection = duckdb.connect()
        for name, schema in (
            ("told_losses", PUSH_LOSS.schema),
            ("told_days", PUSH_LOSS_DAYS.schema),
            ("error_codes", ERROR_CODES.schema),
        ):
            self.connection.register("no_rows", schema.empty_table())
            self.connection.execute(f"create table {name} as from no_rows")
        for app in scenario.apps:
            losses = list(_losses(scenario, app, days))
            self._add("told_losses", PUSH_LOSS.schema, losses)
            self._add("told_days", PUSH_LOSS_DAYS.schema, list(_days(app, days)))
        self.connection.execute(
            "create table look as select current_date as last_day;"
            "create view push_loss as from told_losses"
            " where loss_date <= (select last_day from look);"
            "create view push_loss_days as from told_days"
            " where loss_date <= (select last_day from look);"
            "create table apps as select distinct sdk_app_id, app from told_days"
        )

    def alarms(self, last_day: date) -> list[dict[str, Any]]:
        """The alarms of the month that ends on this day."""
        self.connection.execute("update look set last_day = $1", [last_day])
        return self._rows(VIEW)

    def change(self, factors: str, **parameters: Any) -> None:
        """Count codes so many times; `factors` makes the table that says."""
        for statement in factors.split(";"):
            named = {k: v for k, v in parameters.items() if f"${k}" in statement}
            self.connection.execute(statement, named)
        self.connection.execute(CHANGE)

    @contextmanager
    def changed(self, factors: str, **parameters: Any) -> Iterator[None]:
        """Do so for once."""
        self.connection.execute("begin")
        self.change(factors, **parameters)
        yield
        self.connection.execute("rollback")

    def targets(self) -> set[Node]:
        """What `PLANT` has planted."""
        return {_node(target) for target in self._rows("from targets")}

    def _rows(self, question: str) -> list[dict[str, Any]]:
        cursor = self.connection.execute(question)
        names = [name for name, *_ in cursor.description or ()]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    def _add(self, name: str, schema: pa.Schema, rows: list[dict[str, Any]]) -> None:
        self.connection.register("given", pa.Table.from_pylist(rows, schema=schema))
        self.connection.execute(f"insert into {name} from given")


def _losses(
    scenario: Scenario, app: SimulatedApp, days: Sequence[date]
) -> Iterator[dict[str, Any]]:
    for day in days:
        for loss in day_truth(scenario, app.sdk_app_id, day, at=LONG_AFTER):
            number = loss.platform_id
            yield {
                **asdict(loss),
                "sdk_app_id": app.sdk_app_id,
                "app": app.name,
                "loss_date": day,
                "platform": None if number is None else f"platform_{number}",
                "revision": 1,
                "fetched_at": LONG_AFTER,
            }


def _days(app: SimulatedApp, days: Sequence[date]) -> Iterator[dict[str, Any]]:
    for day in days:
        yield {
            "sdk_app_id": app.sdk_app_id,
            "app": app.name,
            "loss_date": day,
            "state": "loaded",
            "revision": 1,
            "row_count": 0,
            "overall_count": 0,
            "fetched_at": LONG_AFTER,
            "ended_at": LONG_AFTER,
            "expires_at": LONG_AFTER,
            "is_young": False,
            "warnings": [],
        }


def _node(row: Mapping[str, Any]) -> Node:
    names = ("sdk_app_id", "loss_date", "stage", "platform_id", "err_code")
    return tuple(row[name] for name in names)


def _quiet_world(seed: int) -> World:
    scenario = Scenario(seed, many_apps(APP_COUNT, seed))
    return World(scenario, LAST_DAY, MONTHS * MONTH_DAYS + PAST_DAYS)


def _month_ends() -> list[date]:
    return [LAST_DAY - timedelta(days=MONTH_DAYS * back) for back in range(MONTHS)]


def false_alarms(world: World, noise: float) -> Counter[tuple[str, str]]:
    """Alarms of all months, by level and direction."""
    with world.changed(NOISE, noise=noise):
        return Counter(
            (alarm["level"], alarm["direction"])
            for last_day in _month_ends()
            for alarm in world.alarms(last_day)
        )


def detections(world: World, target: str, factor: float) -> Counter[str]:
    """How often each outcome was met, of one planting per app and day."""
    level, least, below = TARGETS[target]
    found: Counter[str] = Counter()
    for last_day in _month_ends()[:PLANT_MONTHS]:
        with world.changed(
            PLANT,
            level=level,
            least=least,
            below=below,
            last_day=last_day,
            planted_days=PLANTED_DAYS,
            factor=factor,
        ):
            told = _by_app_day(world.alarms(last_day))
            found.update(_outcome(n, told.get(n[:2], [])) for n in world.targets())
    return found


def _by_app_day(alarms: Iterable[dict[str, Any]]) -> dict[Node, list[Node]]:
    told: dict[Node, list[Node]] = {}
    for alarm in alarms:
        node = _node(alarm)
        told.setdefault(node[:2], []).append(node)
    return told


def _outcome(planted: Node, told: Sequence[Node]) -> str:
    if not told:
        return "missed"
    if len(told) > 1:
        return "otherwise"
    if told[0] == planted:
        return "at it"
    if _holds(told[0], planted):
        return "above it"
    return "below it" if _holds(planted, told[0]) else "otherwise"


def _holds(whole: Node, part: Node) -> bool:
    pairs = zip(whole, part, strict=True)
    return all(name is None or name == other for name, other in pairs)


def demo_outcomes() -> tuple[Counter[tuple[str, str]], int]:
    """Outcomes of the demo's incidents by kind; alarms on its other app days."""
    scenario = demo_scenario(DEMO_DAY)
    first_day = min(incident.first_day for incident in scenario.incidents)
    last_day = max(incident.last_day for incident in scenario.incidents)
    day_count = (last_day - first_day).days + 1
    world = World(scenario, last_day, day_count + MONTH_DAYS + PAST_DAYS)
    told: dict[Node, list[Node]] = {}
    for back in range(0, day_count, MONTH_DAYS):
        told |= _by_app_day(world.alarms(last_day - timedelta(days=back)))
    planted = [
        (incident.kind, (*day, incident.stage, incident.platform_id, incident.err_code))
        for incident in scenario.incidents
        for day in _app_days(incident)
    ]
    nodes = {node for _, node in planted}
    found: Counter[tuple[str, str]] = Counter()
    for kind, node in planted:
        not_others = [
            each for each in told.get(node[:2], []) if each not in nodes - {node}
        ]
        found[kind, _outcome(node, not_others)] += 1
    quiet_days = told.keys() - {node[:2] for node in nodes}
    return found, sum(len(told[day]) for day in quiet_days)


def _app_days(incident: Incident) -> list[Node]:
    day_count = (incident.last_day - incident.first_day).days + 1
    days = (incident.first_day + timedelta(days=n) for n in range(day_count))
    return [(incident.sdk_app_id, day) for day in days]


def _show_false_alarms(worlds: Sequence[World], console: Console) -> None:
    app_months = len(worlds) * MONTHS * APP_COUNT
    table = Table(
        title=f"False alarms per app and month of {MONTH_DAYS} days"
        f" ({app_months} app months)",
        title_justify="left",
    )
    table.add_column("noise added")
    for column in ("app", "stage", "platform", "code", "rises", "drops", "all"):
        table.add_column(column, justify="right")
    for noise in NOISES:
        found = sum((false_alarms(world, noise) for world in worlds), Counter())
        counts = [
            *(_total(found, level) for level in ("app", "stage", "platform", "code")),
            *(_total(found, direction) for direction in ("rise", "drop")),
            found.total(),
        ]
        label = f"{noise:.0%} a code, {noise / 2:.0%} a day" if noise else "none"
        table.add_row(label, *(f"{count / app_months:.3f}" for count in counts))
    console.print(table)


def _total(found: Counter[tuple[str, str]], part: str) -> int:
    return sum(count for key, count in found.items() if part in key)


def _show_detections(world: World, noise: float, console: Console) -> None:
    added = f"{noise:.0%} noise a code added" if noise else "no noise added"
    table = Table(
        title=f"Where what is planted is told, % of the app days; {added}",
        title_justify="left",
    )
    for column in ("planted on", "times", "app days", *OUTCOMES):
        table.add_column(column, justify="right", no_wrap=True)
    for target in TARGETS:
        for factor in FACTORS:
            found = detections(world, target, factor)
            shares = (100 * found[each] / found.total() for each in OUTCOMES)
            table.add_row(
                target, f"{factor:g}", str(found.total()), *(f"{s:.1f}" for s in shares)
            )
        table.add_section()
    console.print(table)


def _show_demo(console: Console) -> None:
    found, others = demo_outcomes()
    table = Table(
        title=f"Where the demo's incidents are told; {others} alarms on other app days",
        title_justify="left",
    )
    for column in ("incident", "app days", *OUTCOMES):
        table.add_column(column, justify="right")
    for kind in sorted({kind for kind, _ in found}):
        counts = [found[kind, outcome] for outcome in OUTCOMES]
        table.add_row(kind, str(sum(counts)), *map(str, counts))
    console.print(table)


def main() -> None:
    """Simulate, plant, look, show."""
    console = Console(width=100)
    _show_demo(console)
    worlds = [_quiet_world(seed) for seed in SEEDS]
    _show_false_alarms(worlds, console)
    _show_detections(worlds[0], 0, console)
    worlds[0].change(NOISE, noise=PLANT_NOISE)
    _show_detections(worlds[0], PLANT_NOISE, console)


if __name__ == "__main__":
    main()
