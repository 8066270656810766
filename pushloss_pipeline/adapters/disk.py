"""Forces what was written to the disk, where no power cut can undo it."""

import os
from pathlib import Path


def force_to_disk(path: Path) -> None:
    """Return once a file's content, or a folder's list of names, is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
