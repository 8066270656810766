"""Files: forced to the disk, where no power cut undoes them, and whose they are."""

import os
from pathlib import Path


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
