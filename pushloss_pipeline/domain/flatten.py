"""Turns a loss report into the rows of its day, and names their content."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import fields
from hashlib import sha256
from operator import attrgetter

from pushloss_pipeline.domain.errors import BadPayload
from pushloss_pipeline.domain.model import (
    LossEntry,
    LossReport,
    LossRow,
    Scope,
    Stage,
    platform_name,
)
from pushloss_pipeline.domain.parse import DUPLICATE_ROW, MAX_COUNT, bounded, shown

_values = attrgetter(*(column.name for column in fields(LossRow)))
_STAGE_ORDER = {stage: position for position, stage in enumerate(Stage)}


def flatten(report: LossReport) -> tuple[tuple[LossRow, ...], tuple[str, ...]]:
    """Rows by stage, scope, platform and code; with the warnings this step adds.

    Entries of one key are added up, with a warning: the page does not say
    whether they occur. Raises BadPayload where a sum, or that of a whole scope,
    fits no column.
    """
    groups = _by_key(report.entries)
    rows = sorted(map(_row, groups), key=_position)
    for scope in Scope:
        counts = (row.err_count for row in rows if row.scope is scope)
        _require_fit(sum(counts), f"counts of scope {scope}", place=str(scope))
    return tuple(rows), bounded(_duplicate_warning(g) for g in groups if len(g) > 1)


def content_hash(rows: Sequence[LossRow]) -> str:
    """SHA-256 of the rows as a set of facts, whatever their order."""
    lines = sorted(json.dumps(_values(row), separators=(",", ":")) for row in rows)
    return sha256("\n".join(lines).encode("ascii")).hexdigest()


def _by_key(entries: Iterable[LossEntry]) -> list[list[LossEntry]]:
    groups: dict[tuple[Stage, int | None, str], list[LossEntry]] = {}
    for entry in entries:
        key = (entry.stage, entry.platform_id, entry.err_code)
        groups.setdefault(key, []).append(entry)
    return list(groups.values())


def _row(group: list[LossEntry]) -> LossRow:
    one = group[0]
    overall = one.platform_id is None
    return LossRow(
        stage=one.stage,
        scope=Scope.OVERALL if overall else Scope.PLATFORM,
        platform_id=one.platform_id,
        platform=None if one.platform_id is None else platform_name(one.platform_id),
        err_code=one.err_code,
        err_info=min(group, key=_weight).err_info,
        err_count=_sum(group),
    )


def _weight(entry: LossEntry) -> tuple[int, bool, str]:
    # The page: ErrInfo is the most frequent text, so the largest count has it.
    return -entry.err_count, entry.err_info is None, entry.err_info or ""


def _sum(group: list[LossEntry]) -> int:
    total = sum(entry.err_count for entry in group)
    _require_fit(total, "counts of one key", place=_key_text(group[0]))
    return total


def _require_fit(total: int, what: str, *, place: str) -> None:
    if total > MAX_COUNT:
        raise BadPayload(
            f"{what} add up to {total}, more than {MAX_COUNT}", place=place
        )


def _position(row: LossRow) -> tuple[int, int, str]:
    overall_first = -1 if row.platform_id is None else row.platform_id
    return _STAGE_ORDER[row.stage], overall_first, row.err_code


def _duplicate_warning(group: list[LossEntry]) -> str:
    return f"{DUPLICATE_ROW}: {_key_text(group[0])} stands {len(group)} times"


def _key_text(entry: LossEntry) -> str:
    where = "overall" if entry.platform_id is None else f"platform {entry.platform_id}"
    return f"{entry.stage} {where} code {shown(entry.err_code)}"
