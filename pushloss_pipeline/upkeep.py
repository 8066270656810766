"""Looks after the record and the published file: what is wrong, and what mends it.

Everything is derived from the stored answers, so everything but these can be mended.
Safe beside running loads (what is written is written in the writers' turn), safe to
kill, and done twice it does nothing the second time.
"""

import shutil
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta

from pushloss_pipeline.adapters.comparison import differences
from pushloss_pipeline.adapters.delta import LONG_AGO, Ailment, DataFile, StoredTable
from pushloss_pipeline.adapters.sql_files import read_statements
from pushloss_pipeline.domain.errors import PushLossError, StoreError, UsageError
from pushloss_pipeline.domain.model import Answer, AppDay
from pushloss_pipeline.domain.tables import PUSH_LOSS_REVISIONS, SCHEMA_VERSION
from pushloss_pipeline.domain.verdict import Standing, judge_all, missing_entries
from pushloss_pipeline.domain.window import askable_days
from pushloss_pipeline.domain.words import counted
from pushloss_pipeline.steps import REPLAY_DAYS, Parts, publish, require_same_days

NAMED = 10
"""Things of one kind that are told one by one."""
ROUNDS = 3
"""How often the file is published and compared while loads go on."""
LOAD_PAUSE = timedelta(hours=1)
"""A load that has not published what it wrote so long ago has ended badly."""
SPARE_BYTES = 1_000_000_000
"""Room on the disk beside that for another copy of the published file."""
STALE_SECONDS = 3600
"""A page that is being written for longer will never be."""

Ailing = tuple[DataFile, Ailment]

OnProgress = Callable[[str, int, int], None]
"""What is looked at, how much of it is done, and of how much."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What one look showed, and what was done about it."""

    looked_at: str
    told: str = ""
    """What was seen, where there is something to say of it."""
    wrong: tuple[str, ...] = ()
    done: tuple[str, ...] = ()
    advice: tuple[str, ...] = ()
    """What a person does next."""
    is_mended: bool = True
    """Nothing wrong is left."""


@dataclass(frozen=True, slots=True)
class Tidied:
    """What a thorough tidying of the record did."""

    merged_partitions: int
    files_before: int
    files_after: int


def tidy(parts: Parts) -> Tidied:
    """Merge the record's small files and shorten its logs; rows stay as they are."""
    before = _count_files(parts)
    merged = parts.lake.tidy_thoroughly()
    return Tidied(merged, before, _count_files(parts))


def examine(
    parts: Parts,
    *,
    repair: bool,
    on_progress: OnProgress = lambda what, done, total: None,
) -> Iterator[Finding]:
    """Look at everything in turn; with `repair`, mend what can be mended."""
    doctor = _Doctor(parts, repair, on_progress)
    looks: list[tuple[str, Callable[[str], Finding]]] = [
        *((f"log of {t.name}", doctor.log_of(t)) for t in parts.lake.tables),
        ("schema version", doctor.schema_version),
        ("time zone", doctor.zone),
        *((f"files of {t.name}", doctor.files_of(t)) for t in parts.lake.tables),
        ("days against their answers", doctor.days),
        ("published file against the record", doctor.published),
        ("leftovers", doctor.leftovers),
        ("room on the disk", doctor.room),
    ]
    for looked_at, look in looks:
        try:
            yield look(looked_at)
        except (PushLossError, OSError) as problem:
            yield Finding(looked_at, wrong=(str(problem),), is_mended=False)


class _Doctor:
    """One examination."""

    def __init__(self, parts: Parts, repair: bool, on_progress: OnProgress) -> None:
        self._parts = parts
        self._lake = parts.lake
        self._repair = repair
        self._on_progress = on_progress
        self._has_lost_entries = False
        """Of judged answers; without it, entries that are missing were never made."""

    def log_of(self, table: StoredTable) -> Callable[[str], Finding]:
        """Torn, empty and missing entries and checkpoints."""

        def look(looked_at: str) -> Finding:
            if not table.is_local:
                return Finding(looked_at, "not looked at: the object store keeps it")
            # A second look: a log that is being shortened may look broken once.
            faults = table.log_faults() and table.log_faults()
            if not faults:
                return Finding(looked_at)
            wrong = _named([fault.in_words for fault in faults])
            self._has_lost_entries |= table.name == PUSH_LOSS_REVISIONS.name
            if not self._repair or self._newer():
                return Finding(looked_at, wrong=wrong, is_mended=False)
            with self._lake.writing():
                table.mend_log(table.log_faults())
            left = table.log_faults()
            return Finding(
                looked_at,
                wrong=wrong,
                done=("set aside as .torn; what is whole is read again",),
                advice=(f"restore {table.name} from a backup",) if left else (),
                is_mended=not left,
            )

        return look

    def schema_version(self, looked_at: str) -> Finding:
        """Older tables are upgraded; newer ones need a newer package."""
        found = self._versions()
        told = "".join(f"{name} {version}, " for name, version in found)
        told += f"this package {SCHEMA_VERSION}"
        if newer := self._newer():
            self._repair = False
            return Finding(
                looked_at,
                told,
                wrong=(f"{', '.join(newer)}: a newer package has been here",),
                advice=("update pushloss_pipeline; it mends nothing until then",),
                is_mended=False,
            )
        older = [name for name, version in found if version < SCHEMA_VERSION]
        if older and self._repair:
            with self._lake.writing():
                pass  # whose turn begins upgrades the tables
            return Finding(looked_at, told, done=(f"upgraded: {', '.join(older)}",))
        return Finding(looked_at, told)

    def _versions(self) -> list[tuple[str, int]]:
        """Of all that can be opened, nothing mended."""
        warehouse = self._parts.warehouse
        versions = [(table.name, table.told_version()) for table in self._lake.tables]
        versions.append((warehouse.path.name, warehouse.schema_version()))
        return [(name, version) for name, version in versions if version is not None]

    def _newer(self) -> list[str]:
        """What a newer package has made."""
        return [name for name, version in self._versions() if version > SCHEMA_VERSION]

    def zone(self, looked_at: str) -> Finding:
        """The configured zone cuts days as they were asked for."""
        require_same_days(self._parts)
        return Finding(looked_at, self._parts.settings.timezone.key)

    def files_of(self, table: StoredTable) -> Callable[[str], Finding]:
        """Every file that the log names is there and can be read to its end."""

        def look(looked_at: str) -> Finding:
            is_record = table.name == PUSH_LOSS_REVISIONS.name
            if not table.is_there():
                self._has_lost_entries |= is_record
                return Finding(looked_at, "there is none yet")
            snapshot = table.snapshot()
            ailing: list[Ailing] = []
            for done, file in enumerate(snapshot.files, 1):
                if ailment := snapshot.what_ails(file):
                    ailing.append((file, ailment))
                self._on_progress(looked_at, done, len(snapshot.files))
            size = sum(file.size_bytes for file in snapshot.files)
            told = f"{len(snapshot.files)} files, {size / 1e6:,.1f} MB"
            if ailing and self._repair and table.is_local:
                return self._without_broken(looked_at, told, table, ailing)
            self._has_lost_entries |= is_record and bool(ailing)
            is_remote = bool(ailing) and not table.is_local
            advice = ("restore these objects of the store",) if is_remote else ()
            return Finding(
                looked_at,
                "" if ailing else told,
                wrong=_in_words(ailing),
                advice=advice,
                is_mended=not ailing,
            )

        return look

    def _without_broken(
        self, looked_at: str, told: str, table: StoredTable, ailing: list[Ailing]
    ) -> Finding:
        """Take out what is still lost or broken when it is looked at again."""
        with self._lake.writing():
            ailing = table.snapshot().still_ailing(file for file, _ in ailing)
            broken = [file for file, ailment in ailing if ailment.is_lasting]
            if broken:
                table.drop(broken)
        wrong = _in_words(ailing)
        if not broken:
            return Finding(looked_at, told, wrong=wrong, is_mended=not wrong)
        is_all = len(broken) == len(ailing)
        done = "taken out of the table, what is left of them kept as .broken"
        if table.name == PUSH_LOSS_REVISIONS.name:
            self._has_lost_entries = True
            done += "; their rows are derived anew from the answers"
            return Finding(looked_at, wrong=wrong, done=(done,), is_mended=is_all)
        first = min(file.first_day for file in broken)
        last = max(file.last_day for file in broken)
        lost = f"answers of days from {first} to {last} are lost;"
        advice = (
            f"{lost} what the API still tells: `pushloss load {first} {last}`",
            "all the rest: restore the whole lake/ as docs/operations.md says",
        )
        return Finding(
            looked_at, wrong=wrong, done=(done,), advice=advice, is_mended=False
        )

    def days(self, looked_at: str) -> Finding:
        """Every day is what its answers make of it, and its rows are all there."""
        if not any(table.is_there() for table in self._lake.tables):
            return Finding(looked_at, "nothing is recorded yet")
        app_days = self._lake.app_days()
        results = []
        for start in range(0, len(app_days), REPLAY_DAYS):
            results.append(self._chunk(app_days[start : start + REPLAY_DAYS]))
            done = min(start + REPLAY_DAYS, len(app_days))
            self._on_progress(looked_at, done, len(app_days))
        return self._summed_up(looked_at, len(app_days), results)

    def _chunk(self, app_days: Sequence[AppDay]) -> "_Derived":
        if not self._repair:
            return self._derived(app_days)
        with self._lake.writing():
            derived = self._derived(app_days)
            self._lake.append_entries(derived.missing)
            self._lake.restate(derived.unsound, now=self._parts.clock())
        return derived

    def _derived(self, app_days: Sequence[AppDay]) -> "_Derived":
        judges_all = self._has_lost_entries
        return _derived(self._parts, app_days, judges_all=judges_all)

    def _summed_up(
        self, looked_at: str, count: int, results: Sequence["_Derived"]
    ) -> Finding:
        missing = [self._entry(e) for each in results for e in each.missing]
        unsound = [self._entry(e) for each in results for e in each.unsound]
        beyond = [self._entry(e) for each in results for e in each.beyond_repair]
        lost = [key for each in results for key in each.without_answers]
        settings = self._parts.settings
        askable = askable_days(
            settings.timezone, settings.retention_days, self._parts.clock()
        )
        names = {app.sdk_app_id: name for name, app in settings.apps.items()}
        to_ask = [k for k in lost if k.loss_date in askable and k.sdk_app_id in names]
        told = f"{count} app days"
        if lost:
            told += f"; {len(lost)} whose answers are lost, their rows stand: "
            told += ", ".join(_named([self._day(key) for key in lost]))
        if unjudged := [day for each in results for day in each.unjudged]:
            told += f"; {counted(len(unjudged), 'answer')} stored and not judged yet: "
            told += f"pushloss replay {min(unjudged)} {max(unjudged)} judges them"
        wrong = (
            *(f"missing: {text}" for text in _named(missing)),
            *(f"rows differ from the marker: {text}" for text in _named(unsound)),
            *(f"rows lost, no answer gives them: {text}" for text in _named(beyond)),
            *(f"answers lost: {text}" for text in _named(list(map(self._day, to_ask)))),
        )
        done = (
            *((f"{len(missing)} entries derived anew",) if missing else ()),
            *((f"{len(unsound)} revisions restated",) if unsound else ()),
        )
        advice = (
            *(("restore the whole lake/ from a backup",) if beyond else ()),
            *(
                f"pushloss load {key.loss_date} {key.loss_date}"
                f" --app {names[key.sdk_app_id]}"
                for key in to_ask
            ),
        )
        is_mended = not (beyond or to_ask) and (self._repair or not wrong)
        done = done if self._repair else ()
        return Finding(looked_at, told, wrong, done, advice, is_mended)

    def _day(self, app_day: AppDay) -> str:
        apps = self._parts.settings.apps.items()
        names = {app.sdk_app_id: name for name, app in apps}
        name = names.get(app_day.sdk_app_id, str(app_day.sdk_app_id))
        return f"{name} {app_day.loss_date}"

    def _entry(self, entry: Standing) -> str:
        what = f"revision {entry.revision}" if entry.is_revision else entry.state.value
        return f"{self._day(entry.app_day)} {what}"

    def published(self, looked_at: str) -> Finding:
        """The published file, by the record's own selects."""
        if not any(table.is_there() for table in self._lake.tables):
            return Finding(looked_at, "nothing is recorded yet")
        wrong = self._compared(looked_at)
        if not wrong:
            return Finding(looked_at, "row for row the same")
        try:
            if not self._repair:
                wrong = self._differences(looked_at, publishing=False)
                return Finding(looked_at, wrong=wrong, is_mended=not wrong)
            if not self._differences(looked_at, publishing=True):
                done = "brought up to date, and compared again"
                return Finding(looked_at, wrong=wrong, done=(done,))
            self._parts.warehouse.forget_work()
            if left := self._differences(looked_at, publishing=True):
                return Finding(looked_at, wrong=left, is_mended=False)
        except _LoadGoesOn:
            return Finding(looked_at, "not compared: a load is running")
        except StoreError as problem:
            return Finding(looked_at, wrong=(str(problem),), is_mended=False)
        return Finding(looked_at, wrong=wrong, done=("built anew, compared again",))

    def _differences(self, looked_at: str, *, publishing: bool) -> tuple[str, ...]:
        """What differs while the record stands still.

        Raises _LoadGoesOn where it never does, or is still to be published.
        """
        for _ in range(ROUNDS):
            before = self._lake.revisions().version
            if publishing:
                publish(self._parts)
            wrong = self._compared(looked_at)
            is_still = before == self._lake.revisions().version
            if not wrong or (is_still and (publishing or not self._is_behind())):
                return wrong
        raise _LoadGoesOn

    def _is_behind(self) -> bool:
        """Whether a load has just written what the file does not hold yet."""
        try:
            known = self._parts.warehouse.query("select path from internal.taken_files")
        except PushLossError:
            return False  # missing or broken: that is told by comparing
        taken = {path for (path,) in known.rows}
        since = self._parts.clock() - LOAD_PAUSE
        return any(
            file.path not in taken and file.may_be_after(since)
            for file in self._lake.revisions().files
            if not file.has_losses_only
        )

    def _compared(self, looked_at: str) -> tuple[str, ...]:
        path = self._parts.warehouse.path
        if not path.exists():
            return (f"{path} is missing",)

        def on_month(done: int, total: int) -> None:
            self._on_progress(looked_at, done, total)

        try:
            record = self._lake.revisions()
            wrong = tuple(differences(path, record, on_month=on_month))
            # Bound, not run: a view that is missing or broken says so.
            self._parts.warehouse.query_all(
                [f"from {view.name} limit 0" for view in read_statements("views")]
            )
            return wrong
        except (StoreError, UsageError) as problem:
            return (" ".join(str(problem).split()),)

    def leftovers(self, looked_at: str) -> Finding:
        """What killed processes have left, of no use to anyone."""
        warehouse = self._parts.warehouse
        stale = self._parts.clock().timestamp() - STALE_SECONDS
        report = self._parts.settings.local_dir / "report"
        pages = [
            path
            for path in report.glob(".index.html.*")
            if path.stat().st_mtime < stale
        ]
        found = [*warehouse.leftovers(), *pages]
        if not found:
            return Finding(looked_at, "none")
        wrong = tuple(f"{path} is left over" for path in found)
        if not self._repair:
            return Finding(looked_at, wrong=wrong, is_mended=False)
        warehouse.remove_leftovers()
        for path in pages:
            path.unlink(missing_ok=True)
        return Finding(looked_at, wrong=wrong, done=("removed",))

    def room(self, looked_at: str) -> Finding:
        """Room for another copy of the published file, and some to spare."""
        folder = self._parts.settings.local_dir
        if not folder.exists():
            return Finding(looked_at, "there is no data folder yet")
        free = shutil.disk_usage(folder).free
        path = self._parts.warehouse.path
        needed = SPARE_BYTES + (path.stat().st_size if path.exists() else 0)
        told = f"{free / 1e9:,.1f} GB free"
        if free >= needed:
            return Finding(looked_at, told)
        return Finding(
            looked_at,
            told,
            wrong=(f"less than {needed / 1e9:,.1f} GB are free in {folder}",),
            advice=("make room: a full disk stops every load",),
            is_mended=False,
        )


class _LoadGoesOn(Exception):
    """The record moves on: it cannot be compared now."""


@dataclass(frozen=True, slots=True)
class _Derived:
    """What the answers of some days say against what is recorded of them."""

    missing: list[Standing]
    """Entries that the record should gain."""
    unsound: list[Standing]
    """Recorded revisions without their true rows, here with them."""
    beyond_repair: list[Standing]
    """The same where no answer gives the rows that the marker tells of."""
    without_answers: list[AppDay]
    """Days whose answers, as they are stored, no longer make them what they are."""
    unjudged: list[date]
    """The day of each answer that was stored and is still to be judged."""


def _derived(parts: Parts, app_days: Sequence[AppDay], *, judges_all: bool) -> _Derived:
    # In this order: beside a load there may be answers without entries, which are
    # not judged yet, but no entries without answers, which would be lost.
    recorded = parts.lake.entries(app_days)
    answers = parts.lake.answers(app_days)
    now = parts.clock()
    found = _Derived([], [], [], [], [])
    folds: dict[AppDay, list[Standing]] = {}
    for key in app_days:
        known, told = recorded.get(key, []), answers.get(key, [])
        has_lost_answers = _has_lost_answers(known, told)
        if not (judges_all or has_lost_answers):
            told, later = _judged(known, told)
            found.unjudged.extend(answer.loss_date for answer in later)
        folds[key] = fold = judge_all(None, told)
        if has_lost_answers:
            # Older answers must not undo what a lost one has said.
            if not fold or not _ends_alike(fold[-1], known[-1]):
                found.without_answers.append(key)
            continue
        lost = _lost_between(known, fold)
        known = sorted([*known, *lost], key=lambda entry: entry.sequence)
        found.missing.extend(lost)
        found.missing.extend(missing_entries(known, fold, now=now))
    for entry in parts.lake.unsound_revisions(app_days):
        contents = {e.content_hash: e for e in folds[entry.app_day] if e.is_revision}
        if derived := contents.get(entry.content_hash):
            overall = derived.overall_count
            found.unsound.append(
                replace(entry, rows=derived.rows, overall_count=overall)
            )
        else:
            found.beyond_repair.append(entry)
    return found


def _judged(
    recorded: Sequence[Standing], answers: Sequence[Answer]
) -> tuple[list[Answer], list[Answer]]:
    """Answers up to the last entry, and those after it that would change the day."""
    last = recorded[-1] if recorded else None
    until = max((entry.recorded_at for entry in recorded), default=LONG_AGO)
    judged = [a for a in answers if a.recorded_at and a.recorded_at <= until]
    later = answers[len(judged) :]
    return judged, list(later) if judge_all(last, later) else []


def _has_lost_answers(
    recorded: Collection[Standing], answers: Collection[Answer]
) -> bool:
    stored = {answer.response_id for answer in answers}
    return any(entry.response_id not in stored for entry in recorded)


def _ends_alike(one: Standing, other: Standing) -> bool:
    return (one.state, one.content_hash) == (other.state, other.content_hash)


def _lost_between(
    recorded: Sequence[Standing], fold: Sequence[Standing]
) -> list[Standing]:
    """Revisions that the record has lost before others that still stand.

    Only where record and fold agree in all that both have: a day whose answers are
    read otherwise today gets one more revision, and keeps its history.
    """
    known = {entry.sequence: entry for entry in recorded}
    revisions = [entry for entry in fold if entry.is_revision]
    for entry in revisions:
        other = known.get(entry.sequence)
        if other is not None and (
            (other.is_revision, other.revision, other.content_hash)
            != (True, entry.revision, entry.content_hash)
        ):
            return []
    last = max(known, default=0)
    return [e for e in revisions if e.sequence < last and e.sequence not in known]


def _in_words(ailing: Sequence[Ailing]) -> tuple[str, ...]:
    return _named([f"{file.path} {ailment.what}" for file, ailment in ailing])


def _named(texts: Sequence[str]) -> tuple[str, ...]:
    if len(texts) <= NAMED:
        return tuple(texts)
    return (*texts[:NAMED], f"and {len(texts) - NAMED} more")


def _count_files(parts: Parts) -> int:
    return sum(len(table.snapshot().files) for table in parts.lake.tables)
