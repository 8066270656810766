"""docs/reliability.md: what the attacks of this folder showed, a table for each.

`make reliability` runs them all and writes the tables anew. Every other run compares
what it saw with what is written there, but for figures that no two runs share.
"""

import os
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from filelock import FileLock

PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"

Row = Mapping[str, object]


def tell(table: str, rows: Sequence[Row], *, measured: Collection[str] = ()) -> None:
    """Compare rows with the table of this name on the page, or write them there.

    `measured` names the columns whose figures differ from run to run: they are
    written, and not compared.
    """
    if os.environ.get("PUSHLOSS_WRITE_DOCS"):
        _write(table, _in_markdown(rows))
    same = [name for name in rows[0] if name not in measured]
    seen = [{name: _cell(row[name]) for name in same} for row in rows]
    written = [{name: row.get(name) for name in same} for row in written_rows(table)]

    differ = [row for row in seen if row not in written]
    assert [] == differ, f"table {table} of {PAGE}; `make reliability` writes it anew"
    assert seen == written


def written_rows(table: str) -> list[dict[str, str]]:
    """The rows of a table as the page has them."""
    text = PAGE.read_text(encoding="utf-8")
    found = _block(table).search(text)
    assert found, f"{PAGE} has no table {table}"
    lines = [line for line in found[2].splitlines() if line.startswith("|")]
    names, _, *rows = [_cells(line) for line in lines] or [[], []]
    return [dict(zip(names, row, strict=True)) for row in rows]


def _write(table: str, text: str) -> None:
    with FileLock(f"{PAGE}.lock"):
        page = PAGE.read_text(encoding="utf-8")
        assert _block(table).search(page), f"{PAGE} has no place for {table}"
        page = _block(table).sub(lambda found: f"{found[1]}\n{text}\n{found[3]}", page)
        PAGE.write_text(page, encoding="utf-8")


def _block(table: str) -> re.Pattern[str]:
    begin, end = f"<!-- {table}: written by a run -->", f"<!-- end of {table} -->"
    return re.compile(f"({re.escape(begin)})(.*?)({re.escape(end)})", re.DOTALL)


def _in_markdown(rows: Sequence[Row]) -> str:
    names = list(rows[0])
    lines = [names, ["---"] * len(names), *([row[n] for n in names] for row in rows)]
    return "\n".join("| " + " | ".join(map(_cell, line)) + " |" for line in lines)


def _cell(value: object) -> str:
    return str(value).replace("|", "\\|").replace("\n", " ").strip()


def _cells(line: str) -> list[str]:
    inner = line.strip().removeprefix("|").removesuffix("|")
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", inner)]
