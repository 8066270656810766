"""The log of a Delta table in a local folder: forced to the disk, looked at, mended.

delta-rs forces nothing. After a power cut the newest entry may be torn, which makes
the whole table unreadable, or empty, which it passes over without a word.
"""

import json
import logging
import os
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.parquet as pq
from filelock import FileLock

from pushloss_pipeline.adapters.disk import force_to_disk
from pushloss_pipeline.domain.errors import StoreError

LOCK_SECONDS = 300.0
"""A writer holds its turn for seconds, also one that tidies; longer means it hangs."""

_ENTRY = re.compile(r"(\d{20})\.json")
_FIRST = "0" * 20
_TABLE = frozenset({"protocol", "metaData"})
"""What the first entry says of the table."""
_CHECKPOINT = re.compile(r"(\d{20})\.checkpoint\.parquet")

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LogFault:
    """Something wrong with a file of the log."""

    file: Path
    what: str
    is_newest: bool = False
    """An entry after which nothing whole was committed: nobody was told of it."""
    is_mendable: bool = True

    @property
    def in_words(self) -> str:
        """The file and what is wrong with it."""
        return f"{self.file.parent.parent.name}/_delta_log/{self.file.name} {self.what}"


class DeltaLog:
    """`_delta_log` of one table's folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._log = folder / "_delta_log"

    def force(self, version: int) -> None:
        """Force a commit, its files and its checkpoint to the disk."""
        entry = self._entry(version)
        folders = {self._log, self._folder, self._folder.parent}
        for checkpoint in self._log.glob(f"{entry.stem}.checkpoint*"):
            force_to_disk(checkpoint)
            force_to_disk(self._log / "_last_checkpoint")
        for action in _actions(entry):
            if added := action.get("add"):
                path = self._folder / unquote(added["path"])
                force_to_disk(path)
                folders.update(path.parents[: len(Path(added["path"]).parts)])
        force_to_disk(entry)
        for some_folder in folders:
            force_to_disk(some_folder)

    def version_of(self, batch_id: str, newest: int) -> int:
        """The version that this batch made; others may have committed since."""
        for version in range(newest, -1, -1):
            entry = self._entry(version)
            if entry.exists() and batch_id.encode() in entry.read_bytes():
                return version
        raise StoreError(f"the record {self._folder} has no commit of batch {batch_id}")

    def set_torn_commit_aside(self) -> None:
        """Make a table readable again whose newest commit a power cut has torn.

        Nobody was told of that commit: all others were forced to the disk. The walk
        that made it did not end, and is run again.
        """
        with FileLock(self._log / "mend.lock", timeout=LOCK_SECONDS):
            newest = max(self._log.glob("*.json"), default=None)
            if newest is not None and not _is_whole(newest):
                _log.warning("torn commit set aside: %s", newest)
                newest.rename(newest.with_suffix(".torn"))
                force_to_disk(self._log)

    def faults(self) -> list[LogFault]:
        """What is wrong, in the order in which it is to be mended."""
        if not self._log.is_dir():
            return []
        entries = self._named(_ENTRY)
        checkpoints = self._named(_CHECKPOINT)
        whole = {v for v, path in checkpoints.items() if _is_whole_parquet(path)}
        base = max(whole, default=-1)
        faults = [
            LogFault(
                path,
                "is torn",
                # what it sums up must still be there entry by entry
                is_mendable=all(v in entries for v in range(base + 1, version + 1)),
            )
            for version, path in sorted(checkpoints.items())
            if version not in whole
        ]
        pointer = self._log / "_last_checkpoint"
        if pointer.exists() and _pointed_at(pointer) not in whole:
            faults.append(LogFault(pointer, "names no whole checkpoint"))
        return [*faults, *self._entry_faults(entries, base)]

    def _entry_faults(self, entries: dict[int, Path], base: int) -> list[LogFault]:
        first, last = base + 1, max(entries, default=-1)
        sound = [v for v in range(first, last + 1) if _is_sound(entries.get(v))]
        newest_sound = max(sound, default=base)
        return [
            LogFault(
                self._entry(version),
                _what_ails(entries.get(version)),
                is_newest=version > newest_sound,
                # the first entry says what the table is
                is_mendable=version > 0 or version > newest_sound,
            )
            for version in reversed(range(first, last + 1))
            if version not in sound
        ]

    def mend(self, faults: Sequence[LogFault]) -> None:
        """Set what is broken aside; call it in the writers' turn.

        In place of an entry that others follow stands one that changes nothing.
        """
        with FileLock(self._log / "mend.lock", timeout=LOCK_SECONDS):
            for fault in faults:
                if fault.is_mendable:
                    _log.warning("set aside: %s", fault.in_words)
                    self._set_aside(fault)
            force_to_disk(self._log)

    def _set_aside(self, fault: LogFault) -> None:
        if fault.file.exists():
            aside = fault.file.with_suffix(".torn")
            aside.unlink(missing_ok=True)
            os.link(fault.file, aside)
        if fault.is_newest or not _ENTRY.fullmatch(fault.file.name):
            fault.file.unlink(missing_ok=True)
            return
        nothing = {
            "commitInfo": {
                "timestamp": int(time.time() * 1000),
                "operation": "LOST COMMIT",
                "operationParameters": {},
            }
        }
        stand_in = fault.file.with_suffix(".mending")
        stand_in.write_text(json.dumps(nothing) + "\n")
        force_to_disk(stand_in)
        stand_in.replace(fault.file)

    def _named(self, pattern: re.Pattern[str]) -> dict[int, Path]:
        found = ((pattern.fullmatch(path.name), path) for path in self._log.iterdir())
        return {int(match[1]): path for match, path in found if match}

    def _entry(self, version: int) -> Path:
        return self._log / f"{version:020d}.json"


def _actions(entry: Path) -> list[Any]:
    # Statistics quote vendors' texts: `splitlines` would cut at U+2028 and U+0085, too.
    lines = entry.read_bytes().decode().split("\n")
    return [json.loads(line) for line in lines if line]


def _is_whole(entry: Path) -> bool:
    """Whether all lines can be read, and all files are named that the first counts."""
    try:
        actions = _actions(entry)
        if not all(isinstance(action, dict) and action for action in actions):
            return False
        told = {kind for action in actions for kind in action}
        if entry.stem == _FIRST and not told.issuperset(_TABLE):
            return False
        added = sum("add" in action for action in actions)
        return added >= max(map(_told_files, actions), default=0)
    except (ValueError, TypeError, RecursionError):
        return False


def _told_files(action: dict[str, Any]) -> int:
    info = action.get("commitInfo")
    metrics = info.get("operationMetrics") if isinstance(info, dict) else None
    if not isinstance(metrics, dict):
        return 0
    count = str(metrics.get("num_added_files", metrics.get("numFilesAdded")))
    # Another writer may tell something else there: that makes no commit torn.
    return int(count) if count.isdecimal() else 0


def _is_sound(entry: Path | None) -> bool:
    return entry is not None and entry.stat().st_size > 0 and _is_whole(entry)


def _what_ails(entry: Path | None) -> str:
    if entry is None:
        return "is missing"
    return "is torn" if entry.stat().st_size else "is empty"


def _is_whole_parquet(path: Path) -> bool:
    try:
        pq.read_table(path)
    except (pa.ArrowException, OSError):
        return False
    return True


def _pointed_at(pointer: Path) -> int | None:
    try:
        version = json.loads(pointer.read_bytes().decode())["version"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return version if isinstance(version, int) else None
