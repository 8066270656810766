"""Files: whose they are, forced to the disk; what to do about one that fails."""

import errno
import os
import shutil
from pathlib import Path

LITTLE_BYTES = 100_000
"""With less room than that, whatever fails on a disk fails for want of room."""

_MAKE_ROOM = "the disk is full: make room, then run it again"
_GIVE_RIGHTS = "run this as the user that owns the folder, or give this one the right"
_LOOK = "is its disk mounted? `pushloss doctor` tells what is missing"
_ADVICE = {
    os.strerror(errno.ENOSPC): _MAKE_ROOM,
    os.strerror(errno.EDQUOT): _MAKE_ROOM,
    os.strerror(errno.EROFS): "the disk is read-only: mount it for writing, then again",
    os.strerror(errno.EACCES): _GIVE_RIGHTS,
    os.strerror(errno.EPERM): _GIVE_RIGHTS,
    os.strerror(errno.ENOENT): _LOOK,
    "File not found": _LOOK,  # Delta's word for it
    os.strerror(errno.EIO): "the disk fails: replace it, restore by docs/operations.md",
}


def keep_private() -> None:
    """Let all that this process makes from now on be its user's alone.

    Nothing else reaches what Delta, SQLite and DuckDB make by themselves. What others
    are to read is opened to them by name.
    """
    os.umask(0o077)


def make_open_folder(folder: Path) -> None:
    """Make a folder that others may enter; one that is there keeps its mode."""
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for each in missing:
        each.chmod(0o755)


def force_to_disk(path: Path) -> None:
    """Return once a file's content, or a folder's list of names, is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def with_advice(
    problem: str, folder: Path | None = None, *, otherwise: str = ""
) -> str:
    """A disk's problem as a library tells it, and what to do about it.

    Libraries quote the system's own words; `folder` is where it happened.
    """
    known = (advice for words, advice in _ADVICE.items() if words in problem)
    advice = _MAKE_ROOM if folder and _is_full(folder) else next(known, otherwise)
    return f"{problem}; {advice}" if advice else problem


def _is_full(folder: Path) -> bool:
    try:
        return shutil.disk_usage(folder).free < LITTLE_BYTES
    except OSError:
        return False  # gone: no room is what it lacks least
