"""What lies in `sql/`: one select per file, its name is the object's; the catalogue."""

import hashlib
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pushloss_pipeline.domain.catalogue import KnownCode, read_catalogue

_BESIDE_PACKAGE = Path(__file__).resolve().parents[2] / "sql"
_IN_PACKAGE = Path(__file__).resolve().parents[1] / "sql"
SQL_FOLDER = _IN_PACKAGE if _IN_PACKAGE.is_dir() else _BESIDE_PACKAGE
"""In a wheel the folder lies inside the package, in a checkout beside it."""


@dataclass(frozen=True, slots=True)
class Statement:
    """One file: `about` is its header without the labelled lines."""

    name: str
    text: str
    about: str
    labels: dict[str, str]

    @property
    def is_fatal(self) -> bool:
        """Of a check: bad rows mean wrong data, not only odd data."""
        return self.labels["Severity"] == "fail"


def read_statements(kind: str) -> tuple[Statement, ...]:
    """All statements of one folder of `sql/`, by name."""
    return tuple(map(_read, sorted((SQL_FOLDER / kind).glob("*.sql"))))


def read_statement(kind: str, name: str) -> Statement:
    """One statement, such as `read_statement("tables", "push_loss")`."""
    return _read(SQL_FOLDER / kind / f"{name}.sql")


@cache
def catalogue() -> tuple[KnownCode, ...]:
    """The catalogue of error codes that comes with the package."""
    path = SQL_FOLDER / "dimensions" / "error_codes.csv"
    return read_catalogue(path.read_text(encoding="utf-8"), name=str(path))


def fingerprint() -> str:
    """Changes with every statement: a file built by others is built anew."""
    digest = hashlib.sha256()
    for path in sorted(SQL_FOLDER.rglob("*.sql")):
        digest.update(str(path.relative_to(SQL_FOLDER)).encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def quoted(text: str) -> str:
    """A text as a literal of SQL, where no parameter can stand."""
    return "'" + text.replace("'", "''") + "'"


def _read(path: Path) -> Statement:
    text = path.read_text(encoding="utf-8")
    about: list[str] = []
    labels: dict[str, str] = {}
    label = None
    for line in _header(text):
        if named := re.match(r"(Grain|Reads|Severity|Parameters): (.+)", line):
            label = named[1]
            labels[label] = named[2].rstrip(".")
        elif label is not None:
            labels[label] += " " + line.strip().rstrip(".")
        else:
            about.append(line)
    return Statement(path.stem, text, " ".join(about), labels)


def _header(text: str) -> list[str]:
    lines = []
    for line in text.splitlines():
        if not line.startswith("--"):
            break
        lines.append(line.removeprefix("--").removeprefix(" "))
    return lines
