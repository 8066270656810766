"""The command `pushloss`: says what to do, calls a step, tells what came of it.

What takes long to import is imported by the command that needs it: `--help`
and a slip in the arguments answer at once.
"""

import csv
import json
import os
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import date, datetime, timedelta
from enum import StrEnum
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from pushloss_pipeline.adapters.masking import discreet, masked
from pushloss_pipeline.domain.errors import (
    ConfigurationError,
    PushLossError,
    UsageError,
)
from pushloss_pipeline.domain.verdict import DONE, State
from pushloss_pipeline.domain.words import counted, visible

if TYPE_CHECKING:
    from pushloss_pipeline.adapters.warehouse import Rows
    from pushloss_pipeline.overview import DayStatus
    from pushloss_pipeline.steps import DayOutcome, Parts
    from pushloss_pipeline.upkeep import Finding

DONE_EXIT, FAILED_EXIT, WRONG_EXIT = 0, 1, 2
INTERRUPTED_EXIT = 130
PIPE_WIDTH = 200
"""Columns for a table that goes to a file or a pipe."""

app = typer.Typer(
    help="Daily push-loss figures of Tencent Cloud Chat, kept for years.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    add_completion=False,
)


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a day such as 2026-03-01") from None


AppNames = Annotated[
    list[str] | None,
    typer.Option("--app", metavar="NAME", help="Only this app; may be repeated."),
]
FirstDay = Annotated[
    date, typer.Argument(metavar="FROM", parser=_day, help="First day, YYYY-MM-DD.")
]
LastDay = Annotated[
    date, typer.Argument(metavar="TO", parser=_day, help="Last day, inclusive.")
]


class Format(StrEnum):
    """How `sql` prints."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"


def main() -> None:
    """Run the command; an expected error is one message, never a traceback."""
    with discreet():
        try:
            app()
        except (ConfigurationError, UsageError) as problem:
            _complain(str(problem))
            sys.exit(WRONG_EXIT)
        except PushLossError as problem:
            _complain(str(problem))
            sys.exit(FAILED_EXIT)


@app.command()
def load(
    first: FirstDay,
    last: LastDay,
    app_names: AppNames = None,
    missing: Annotated[
        bool, typer.Option("--missing", help="Only days that are not loaded yet.")
    ] = False,
) -> None:
    """Ask the API for these days and load them.

    Runs the Dagster assets in this process. Example:

        pushloss load 2026-03-01 2026-03-07 --app shop --missing
    """
    _run_days("daily_push_loss", first, last, app_names, missing=missing)


@app.command()
def replay(first: FirstDay, last: LastDay, app_names: AppNames = None) -> None:
    """Rebuild these days from the stored answers; calls nothing.

    Example:

        pushloss replay 2026-03-01 2026-03-31
    """
    _run_days("replay_push_loss", first, last, app_names, missing=False)


@app.command()
def status(app_names: AppNames = None) -> None:
    """Show what is known of each app and day.

    The days that the API still tells, and older ones that need somebody. Example:

        pushloss status --app shop
    """
    from pushloss_pipeline.overview import day_statuses

    parts = _open()
    statuses = day_statuses(parts, parts.settings.select(tuple(app_names or ())))
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("app", "day", "state"):
        table.add_column(name, no_wrap=True)
    for name in ("revision", "rows"):
        table.add_column(name, justify="right")
    table.add_column(f"fetched at ({parts.settings.timezone})", no_wrap=True)
    table.add_column("days left", justify="right")
    table.add_column("what is wrong", overflow="fold")
    for day in statuses:
        fetched = day.fetched_at
        table.add_row(
            escape(day.app),
            str(day.loss_date),
            _coloured(day.state),
            str(day.revision or "–"),
            str(day.row_count) if day.revision else "–",
            f"{fetched.astimezone(parts.settings.timezone):%Y-%m-%d %H:%M}"
            if fetched
            else "–",
            _coloured_days_left(day),
            escape(day.problem),
        )
    make_console().print(table)
    _tell_unfinished(statuses, app_names or ())


@app.command()
def accept(
    day: Annotated[
        date, typer.Argument(metavar="DATE", parser=_day, help="The held day.")
    ],
    app_name: Annotated[
        str, typer.Option("--app", metavar="NAME", help="The app it is held for.")
    ],
    undo: Annotated[
        bool, typer.Option("--undo", help="Take it back: the rows stand again.")
    ] = False,
) -> None:
    """Apply a held answer: the day is empty from now on.

    An answer without rows for a day that has rows is held until somebody
    accepts it. The rows stay in push_loss_history; --undo brings them back,
    and the day is held again. Example:

        pushloss accept 2026-03-05 --app shop
    """
    from pushloss_pipeline.steps import accept_day, publish, undo_acceptance

    parts = _open()
    (name,) = parts.settings.select((app_name,))
    decide = undo_acceptance if undo else accept_day
    outcome = decide(parts, name, day)
    publish(parts)
    make_console().print(
        f"{name} {day} is {outcome.state} as of revision {outcome.revision}",
        markup=False,
    )


@app.command()
def sql(
    query: Annotated[str, typer.Argument(metavar='"SELECT …"', help="One query.")],
    output_format: Annotated[
        Format, typer.Option("--format", help="csv and json are exact.")
    ] = Format.TABLE,
) -> None:
    """Query the warehouse, read-only.

    Every sum must choose a scope. Example:

        pushloss sql "select loss_date, sum(err_count) as lost from push_loss
        where scope = 'overall' group by loss_date order by loss_date"
    """
    rows = _open().warehouse.query(query)
    match output_format:
        case Format.CSV:
            text = _as_csv(rows)
            # Exact for a file or a program; a terminal would obey what a text holds.
            print(visible(text) if sys.stdout.isatty() else text, end="")
        case Format.JSON:
            text = json.dumps(rows.as_dicts(), ensure_ascii=False, default=_in_json)
            print(visible(text))  # the same JSON
        case Format.TABLE:
            make_console().print(rows_table(rows))


@app.command()
def report(
    output: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            dir_okay=False,
            help="Where to; without it, in the data folder.",
        ),
    ] = None,
) -> None:
    """Write the HTML report: one page, to open, send or print.

    Each load writes it too. Example:

        pushloss report --output push_loss.html
    """
    from pushloss_pipeline.reporting import write_report
    from pushloss_pipeline.steps import publish

    users_umask = os.umask(0o077)
    parts = _open()
    publish(parts)  # a change of views or of error_codes.csv shows without a load
    os.umask(users_umask)  # FILE is for whom its writer's files are
    written = write_report(parts, output)
    _say(escape(written.headline))
    _say(f"report: {escape(str(written.path))}")


@app.command()
def simulate(
    port: Annotated[int, typer.Option(help="0 picks a free one.")] = 8091,
    now: Annotated[
        str | None,
        typer.Option(metavar="ISO", help="Simulated time; without it, the real one."),
    ] = None,
    faults: Annotated[
        str | None,
        typer.Option(
            metavar="NAME,…",
            help="Faults to practise with; `list` shows them, `all` takes all.",
        ),
    ] = None,
) -> None:
    """Run the simulator of the API on loopback until Ctrl-C.

    Two made-up apps, `shop` and `chat`, with a weekly rhythm, late counts and
    incidents. With --faults, the first call for each app and day meets the next
    fault of the list, from its start again after its end; later calls for that
    day are told the truth. Example:

        pushloss simulate --port 8091 --faults http_502,silence,error_code_60010
    """
    from pushloss_pipeline.simulator.faults import UnknownFault, find_faults
    from pushloss_pipeline.simulator.scenario import demo_scenario
    from pushloss_pipeline.simulator.server import serve

    if faults == "list":
        _show_faults()
        return
    try:
        practised = find_faults(faults) if faults else ()
    except UnknownFault as problem:
        raise UsageError(f"--faults: {problem}") from None
    scenario = demo_scenario(_simulated_day(now))

    def announce(url: str) -> None:
        print(url)
        for simulated in scenario.apps:
            print(
                f"  {simulated.name}: sdk_app_id {simulated.sdk_app_id},"
                f" identifier {simulated.identifier},"
                f" key {simulated.secret_key} (made up)"
            )
        print("Ctrl-C ends it.", flush=True)

    try:
        serve(scenario, port=port, now=now, faults=practised, on_ready=announce)
    except OSError as problem:
        raise UsageError(
            f"port {port} cannot be used: {problem.strerror}; try --port 0"
        ) from None


@app.command()
def explore(
    port: Annotated[int, typer.Option(help="0 picks a free one.")] = 8092,
) -> None:
    """Explore the warehouse in the browser, on loopback, until Ctrl-C.

    Needs marimo: pip install 'pushloss-pipeline\\[explore]'. Example:

        pushloss explore --port 8092
    """
    from pushloss_pipeline.explore.server import serve as serve_explorer
    from pushloss_pipeline.steps import publish

    publish(_open())

    def announce(url: str) -> None:
        print(url)
        print("Ctrl-C ends it.", flush=True)

    serve_explorer(port, on_ready=announce)


@app.command()
def check(app_names: AppNames = None) -> None:
    """Read the configuration, sign, and make one call for each app.

    Says what is wrong and how to mend it; stores nothing. Example:

        pushloss check
    """
    from pushloss_pipeline.steps import probe, require_same_days

    parts = _open()
    names = parts.settings.select(tuple(app_names or ()))
    parts.settings.own_codes()
    require_same_days(parts)
    worst = DONE_EXIT
    for name in names:
        probed = probe(parts, name)
        if not probed.problem:
            _say(f"[green]✓[/] {escape(name)}: signed, asked and answered")
            continue
        worst = max(worst, WRONG_EXIT if probed.is_configuration else FAILED_EXIT)
        _say(f"[red]✗[/] {escape(name)}: {escape(probed.problem)}")
        _say(f"  → {escape(probed.advice)}")
    raise typer.Exit(worst)


@app.command()
def alarms(
    test: Annotated[
        bool, typer.Option("--test", help="Send a test message and say if it arrived.")
    ] = False,
) -> None:
    """List what on-call people are told of now; sends and remembers nothing.

    Failed runs are told by Dagster's sensor only. Example:

        pushloss alarms --test
    """
    from pushloss_pipeline.alarming import alarms_now, in_messages

    parts = _open()
    if test:
        raise typer.Exit(_test_channel(parts))
    messages = in_messages(parts, alarms_now(parts))
    for message in messages:
        _say(f"[bold]{escape(message.title)}[/]")
        _say(f"{escape(message.body)}\n")
    if not messages:
        _say("[green]✓[/] nothing to tell")


def _test_channel(parts: "Parts") -> int:
    from pushloss_pipeline.alarming import channel_of, report_address
    from pushloss_pipeline.domain.alarm_texts import a_test

    channel = channel_of(parts)
    worst = DONE_EXIT
    for service in channel.services:
        if channel.send(service, [a_test(report_address(parts))]):
            _say(f"[green]✓[/] {escape(service)}: the test message was taken")
            continue
        worst = FAILED_EXIT
        _say(f"[red]✗[/] {escape(service)}: the test message did not arrive")
        _say("  → check address and token in the variable, and this machine's network")
    return worst


@app.command()
def doctor(
    no_repair: Annotated[
        bool, typer.Option("--no-repair", help="Only look; change nothing.")
    ] = False,
) -> None:
    """Look after the record and the published file, and mend them.

    After a power cut, a full disk, a file that somebody deleted. Reads everything,
    may run beside loads, and asks the API nothing. Example:

        pushloss doctor
    """
    from pushloss_pipeline.upkeep import examine

    parts = _open()
    _say(f"[bold]data[/] {escape(parts.settings.lake_root)}")
    is_well = True
    with _progress() as progress:
        bars: dict[str, Any] = {}

        def show(what: str, done: int, total: int) -> None:
            bar = bars.get(what)
            if bar is None:
                bar = bars[what] = progress.add_task(what, total=total)
            progress.update(bar, completed=done, visible=done < total)

        for finding in examine(parts, repair=not no_repair, on_progress=show):
            _tell_finding(finding)
            is_well = is_well and finding.is_mended
    if no_repair and not is_well:
        _say("nothing was changed → `pushloss doctor` mends what can be mended")
    raise typer.Exit(DONE_EXIT if is_well else FAILED_EXIT)


def _tell_finding(finding: "Finding") -> None:
    mark = "[green]✓[/]" if finding.is_mended else "[red]✗[/]"
    told = f": {finding.told}" if finding.told else ""
    _say(f"{mark} {escape(finding.looked_at + told)}")
    for text in finding.wrong:
        _say(f"    {escape(text)}")
    for text in finding.done:
        _say(f"  [green]mended:[/] {escape(text)}")
    for text in finding.advice:
        _say(f"  → {escape(text)}")


def _run_days(
    job: str,
    first: date,
    last: date,
    app_names: Sequence[str] | None,
    *,
    missing: bool,
) -> None:
    from pushloss_pipeline.steps import (
        days_between,
        require_a_key,
        require_same_days,
    )

    parts = _open()
    days = days_between(parts, first, last)
    names = parts.settings.select(tuple(app_names or ()))
    require_same_days(parts)
    if job == "daily_push_loss":
        require_a_key(parts.settings, names)
    from pushloss_pipeline.launch import run_job
    from pushloss_pipeline.reporting import default_path

    outcomes: list[DayOutcome] = []
    with _progress() as progress:
        bar = progress.add_task("app days", total=len(days) * len(names))

        def listen(outcome: "DayOutcome") -> None:
            outcomes.append(outcome)
            progress.advance(bar)

        try:
            finished = run_job(
                parts.settings,
                job,
                days,
                apps=names,
                only_missing=missing,
                listener=listen,
            )
        except KeyboardInterrupt:
            progress.stop()
            _complain(
                f"interrupted; {counted(len(outcomes), 'app day')} kept. Run it again"
                " for the rest"
                + ("" if missing else ", with --missing for what was never in")
            )
            raise typer.Exit(INTERRUPTED_EXIT) from None
        progress.update(bar, completed=len(days) * len(names))
    # A run that broke before its first outcome has nothing to tell but that.
    failed = _tell(outcomes) if outcomes or not finished.problem else 0
    if finished.problem and not failed:
        _complain(finished.problem)
    _say(f"warehouse: {escape(str(parts.warehouse.path))}")
    if default_path(parts).exists():
        _say(f"report: {escape(str(default_path(parts)))}")
    raise typer.Exit(FAILED_EXIT if failed or finished.problem else DONE_EXIT)


def _tell(outcomes: "Sequence[DayOutcome]") -> int:
    """One line for each failed app day, then the sum of it all."""
    failed = [outcome for outcome in outcomes if outcome.problem]
    for outcome in sorted(failed, key=lambda o: (o.app, o.loss_date)):
        _say(
            f"[red]✗[/] {escape(outcome.app)} {outcome.loss_date}"
            f" {escape(' '.join(outcome.problem.split()))}"
            + (f" → {escape(outcome.advice)}" if outcome.advice else "")
        )
    done = [outcome for outcome in outcomes if outcome.is_done]
    revised = sum(outcome.is_new_revision for outcome in done)
    counts = Counter(outcome.state for outcome in done)
    states = ", ".join(f"{counts[s]} {s.value}" for s in State if counts[s])
    if not outcomes:
        _say("[green]✓[/] nothing to do: all these days are loaded")
        return 0
    _say(
        ("" if failed else "[green]✓[/] ")
        + f"{counted(len(done), 'app day')} done"
        + (f" ({states}), {revised} with new content" if done else "")
        + (f"; [red]{len(failed)} failed[/]" if failed else "")
    )
    return len(failed)


def _open() -> "Parts":
    from pushloss_pipeline.parts import open_parts
    from pushloss_pipeline.settings import read_settings

    return open_parts(read_settings())


def _show_faults() -> None:
    from pushloss_pipeline.simulator.faults import FAULTS

    table = Table("fault", "what the server does", box=None)
    for fault in FAULTS:
        table.add_row(fault.name, fault.does)
    table.add_row("error_code_60011", "answers ErrorCode 60011; so with any other code")
    make_console().print(table)


def _simulated_day(now: str | None) -> date:
    if now is None:
        return date.today()
    try:
        return datetime.fromisoformat(now).date()
    except ValueError:
        raise UsageError(
            f"--now {now!r} is not an ISO time such as 2026-03-10T12:00:00+08:00"
        ) from None


class _SafeConsole(Console):
    """Shows what others wrote; a terminal obeys none of it."""

    def render_str(self, text: str, **options: Any) -> Text:
        """Every text comes this way, a table's cells before they are measured."""
        return super().render_str(visible(text), **options)


def make_console(*, stderr: bool = False) -> Console:
    """A console that never folds a table in a file or a pipe."""
    console = _SafeConsole(stderr=stderr, highlight=False, emoji=False)
    if not console.is_terminal:
        console.width = PIPE_WIDTH
    return console


def _say(text: str) -> None:
    make_console().print(masked(text), soft_wrap=True)


def _complain(text: str) -> None:
    make_console(stderr=True).print(
        f"[red]error:[/] {escape(masked(text))}", soft_wrap=True
    )


def _progress() -> Progress:
    return Progress(
        "{task.description}",
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=make_console(stderr=True),
        transient=True,
    )


def rows_table(answer: "Rows") -> Table:
    """Rows for people: counts with separators to the right, NULL as a dash."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for position, column in enumerate(answer.columns):
        is_number = any(isinstance(row[position], int | float) for row in answer.rows)
        table.add_column(
            escape(column), justify="right" if is_number else "left", overflow="fold"
        )
    for row in answer.rows:
        table.add_row(*(_in_table(value) for value in row))
    return table


def _in_table(value: Any) -> str:
    if value is None:
        return "[dim]–[/]"
    is_count = isinstance(value, int) and not isinstance(value, bool)
    return f"{value:,}" if is_count else escape(str(value))


def _as_csv(rows: "Rows") -> str:
    lines = (map(_in_csv, row) for row in (rows.columns, *rows.rows))
    return "".join(map(_csv_line, lines))


def _csv_line(cells: Iterable[Any]) -> str:
    # Told that lines end in CR LF, the writer quotes a text that holds either.
    out = StringIO()
    csv.writer(out, lineterminator="\r\n").writerow(cells)
    return out.getvalue().removesuffix("\r\n") + "\n"


def _in_csv(value: Any) -> Any:
    if isinstance(value, list | dict):
        return json.dumps(value, ensure_ascii=False, default=_in_json)
    return _in_json(value) if isinstance(value, date) else value


def _in_json(value: Any) -> Any:
    return value.isoformat() if isinstance(value, date) else str(value)


def _tell_unfinished(statuses: "Sequence[DayStatus]", names: Sequence[str]) -> None:
    """Below the table: what is not in, how long it can be had, and the command."""
    unfinished = [s for s in statuses if s.state not in DONE and s.days_left]
    if not unfinished:
        return
    days = [status.loss_date for status in unfinished]
    next_lost = min(unfinished, key=lambda status: status.time_left)
    chosen = "".join(f" --app {name}" for name in names)
    unit = " days" if next_lost.days_left > 1 else ""
    _say(
        f"\n{counted(len(unfinished), 'app day')} not in; the API forgets the first"
        f" in {_coloured_days_left(next_lost)}{unit}"
        f"\n  → pushloss load {min(days)} {max(days)} --missing{escape(chosen)}"
    )


_STATE_COLOURS = {
    None: "dim",
    State.LOADED: "green",
    State.EMPTY: "cyan",
    State.HELD: "yellow",
}


def _coloured(state: State | None) -> str:
    colour = _STATE_COLOURS.get(state, "red")
    return f"[{colour}]{state.value if state else 'never asked'}[/]"


def _coloured_days_left(status: "DayStatus") -> str:
    days = status.days_left
    minutes = status.time_left // timedelta(minutes=1)
    last_day = f"{minutes // 60} h" if minutes >= 60 else f"{minutes} min"
    text = last_day if days == 1 else str(days)
    if status.state in DONE or days > 3:
        return text
    return f"[{'red' if days <= 1 else 'yellow'}]{text}[/]"
