"""Reads an answer of the API: its status, and the loss report of an OK one.

What cannot be read with certainty is refused with its place; what is merely
odd is read, with a warning. The caller keeps the bytes in either case.
"""

import json
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import groupby, islice
from typing import Any

from pushloss_pipeline.domain.errors import BadPayload
from pushloss_pipeline.domain.model import (
    PLATFORM_NAMES,
    LossEntry,
    LossReport,
    Stage,
)

UNKNOWN_FIELD = "unknown_field"
MISSING_ARRAY = "missing_array"
MISSING_FIELD = "missing_field"
TEXT_NUMBER = "text_number"
UNKNOWN_PLATFORM = "unknown_platform"
DUPLICATE_ROW = "duplicate_row"

MAX_COUNT = 2**63 - 1
"""The widest `ErrCount`: what a BIGINT holds."""
MAX_PLATFORM_ID = 2**31 - 1
"""The widest `PushPlatform`: what an INTEGER holds."""

# Python can be told to refuse longer integers, but never shorter ones than
# this: whether an answer is read must not hang on a setting of the interpreter.
_MAX_DIGITS = 640
# Nor on how deep in its own calls the interpreter is.
_MAX_DEPTH = 100
_EXCERPT_LENGTH = 60
_PATH_LENGTH = 200
_INFO_LENGTH = 1000
_WARNINGS_OF_A_KIND = 20

_STATUS_FIELDS = frozenset(
    {"ActionStatus", "ErrorCode", "ErrorInfo", "ResultCode", "ResultInfo"}
)
_OVERALL_STAGES = {
    "ReadyToSendLoss": Stage.READY_TO_SEND,
    "PostSendDeliveredLoss": Stage.POST_SEND_DELIVERED,
}
_PLATFORM_STAGES = {
    "PlatformReadyToSendLoss": Stage.READY_TO_SEND,
    "PlatformPostSendDeliveredLoss": Stage.POST_SEND_DELIVERED,
}
_ARRAYS = _OVERALL_STAGES | _PLATFORM_STAGES
_ENTRY_FIELDS = frozenset({"ErrCode", "ErrCount", "ErrInfo"})
_PLATFORM_ENTRY_FIELDS = _ENTRY_FIELDS | {"PushPlatform"}


@dataclass(frozen=True, slots=True)
class Status:
    """What an answer says of itself; None where it does not say it."""

    error_code: int | None
    error_info: str | None


def read_status(body: bytes) -> Status:
    """Code and text of any body whatever; never raises."""
    try:
        answer = json.loads(_text(body), parse_int=_lenient_int)
    except (ValueError, RecursionError):
        return Status(None, None)
    if not isinstance(answer, dict):
        return Status(None, None)
    info = _either(answer, "ErrorInfo", "ResultInfo")
    text = _cut(_storable(info), _INFO_LENGTH) if isinstance(info, str) else None
    return Status(
        error_code=_code(_either(answer, "ErrorCode", "ResultCode")),
        error_info=text,
    )


def parse_report(body: bytes) -> LossReport:
    """The loss report of an OK answer; raises BadPayload rather than guess."""
    answer = _load(body)
    if not isinstance(answer, dict):
        raise BadPayload(f"the answer is {shown(answer)}, no object", place="$")
    warnings: set[str] = set()
    _require_ok(answer, warnings)
    holder = _find_holder(answer)
    _note_unknown_fields(answer, holder, warnings)
    _note_missing_arrays(holder, warnings)
    return LossReport(
        envelope=holder.envelope,
        entries=tuple(_entries(holder, warnings)),
        warnings=bounded(warnings),
    )


def bounded(warnings: Iterable[str]) -> tuple[str, ...]:
    """Sorted, and of each kind no more than can be read: the last one counts the rest.

    They are kept with the day, and what is odd a million times is one oddity.
    """
    told: list[str] = []
    for kind, group in groupby(sorted(warnings), lambda text: text.partition(":")[0]):
        texts = list(group)
        told += texts[:_WARNINGS_OF_A_KIND]
        if len(texts) > _WARNINGS_OF_A_KIND:
            told.append(f"{kind}: {len(texts) - _WARNINGS_OF_A_KIND} more")
    return tuple(told)


@dataclass(frozen=True, slots=True)
class _Unreadable:
    # The json module keeps the last of two equal keys and reads NaN. Its hooks do
    # not know where they are, so they leave this mark, and a walk finds its path.
    problem: str


def _load(body: bytes) -> object:
    try:
        text = _text(body)
        tree = json.loads(
            text,
            object_pairs_hook=_object_without_repeats,
            parse_int=_int_of_sane_length,
            parse_constant=_no_number,
        )
        unreadable = _find_unreadable(tree)
    except UnicodeDecodeError as error:
        raise BadPayload("not UTF-8 text", place=f"byte {error.start}") from error
    except json.JSONDecodeError as error:
        raise BadPayload(
            f"not valid JSON, unreadable from {_excerpt(text, error.pos)}",
            place=f"line {error.lineno} column {error.colno}",
        ) from error
    except RecursionError as error:
        raise BadPayload("nested too deeply to be read", place="$") from error
    if unreadable is not None:
        path, mark = unreadable
        raise BadPayload(mark.problem, place=_cut_inside(f"${path}"))
    return tree


def _text(body: bytes) -> str:
    return body.decode().removeprefix("\ufeff")


def _object_without_repeats(pairs: list[tuple[str, object]]) -> object:
    fields = dict(pairs)
    if len(fields) == len(pairs):
        return fields
    twice = next(n for n, c in Counter(name for name, _ in pairs).items() if c > 1)
    return _Unreadable(f"the key {shown(twice)} stands twice in one object")


def _int_of_sane_length(digits: str) -> object:
    if len(digits) > _MAX_DIGITS:
        return _Unreadable(f"a number of {len(digits)} digits is too long")
    return int(digits)


@cache  # one mark for a million of them
def _no_number(constant: str) -> _Unreadable:
    return _Unreadable(f"{constant} is no number")


def _find_unreadable(tree: object, depth: int = 0) -> tuple[str, _Unreadable] | None:
    """The first mark and its path; the paths of all that is sound take no memory."""
    if isinstance(tree, _Unreadable):
        return "", tree
    if depth > _MAX_DEPTH:
        raise RecursionError
    for step, value in _fields(tree):
        if isinstance(value, dict | list | _Unreadable):
            found = _find_unreadable(value, depth + 1)
            if found is not None:
                path, mark = found
                return _below("", step) + path, mark
    return None


def _fields(tree: object) -> Iterable[tuple[str | int, object]]:
    if isinstance(tree, dict):
        return tree.items()
    return enumerate(tree) if isinstance(tree, list) else ()


def _below(path: str, name: str | int) -> str:
    if isinstance(name, int):
        return f"{path}[{name}]"
    plain = name.isidentifier() and len(name) <= _EXCERPT_LENGTH
    return f"{path}.{name}" if plain else f"{path}[{shown(name)}]"


def shown(value: object) -> str:
    """A value in a message: as JSON, cut to what can be read and stored."""
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "an array"
    return _cut(_storable(json.dumps(value, ensure_ascii=False)), _EXCERPT_LENGTH)


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[:length] + "…"


def _cut_inside(path: str) -> str:
    if len(path) <= _PATH_LENGTH:
        return path
    half = _PATH_LENGTH // 2
    return f"{path[:half]}…{path[-half:]}"


def _excerpt(text: str, start: int) -> str:
    rest = " ".join(text[start : start + _EXCERPT_LENGTH].split())
    visible = "".join(char if char.isprintable() else "\ufffd" for char in rest)
    return f"here on: {visible}" if visible else "its end"


def _require_ok(answer: dict[str, Any], warnings: set[str]) -> None:
    codes = [
        name for name in ("ErrorCode", "ResultCode") if answer.get(name) is not None
    ]
    if not codes:
        raise BadPayload("ErrorCode is missing", place="$.ErrorCode")
    for name in codes:
        if _code(answer[name]) != 0:
            raise BadPayload(
                f"not an OK answer: {name} is {shown(answer[name])}",
                place=f"$.{name}",
            )
        if isinstance(answer[name], str):
            warnings.add(f"{TEXT_NUMBER}: $.{name}")
    if answer.get("ActionStatus") != "OK":
        raise BadPayload(
            f"not an OK answer: {codes[0]} is 0 but ActionStatus is "
            f"{shown(answer.get('ActionStatus'))}",
            place="$.ActionStatus",
        )


def _lenient_int(digits: str) -> int | None:
    return int(digits) if len(digits) <= _MAX_DIGITS else None


def _either(fields: dict[str, Any], name: str, substitute: str) -> object:
    value = fields.get(name)
    return fields.get(substitute) if value is None else value


def _code(value: object) -> int | None:
    number = _whole_number(value)
    return number if number is not None and abs(number) <= MAX_COUNT else None


def _whole_number(value: object) -> int | None:
    if isinstance(value, str) and _is_digits(value):
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    return None


def _is_digits(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS


def _storable(text: str) -> str:
    # JSON can spell half a surrogate pair, which no UTF-8 column can hold.
    return text.encode(errors="backslashreplace").decode()


@dataclass(frozen=True, slots=True)
class _Holder:
    # The page prints the four arrays in an object without a name, so it may be
    # any: the answer itself, or the object under one of its keys.
    path: str
    key: str | None
    fields: dict[str, Any]

    @property
    def envelope(self) -> str:
        if self.key is None:
            return "top"
        return self.path.removeprefix("$.") if self.key == "Results" else self.path


def _find_holder(answer: dict[str, Any]) -> _Holder:
    holders = list(islice(_holders(answer), 2))
    if not holders:
        raise BadPayload(f"all four absent: {', '.join(_ARRAYS)}", place="$")
    if len(holders) > 1:
        places = " and ".join(holder.path for holder in holders)
        raise BadPayload(f"loss arrays in two places: {places}", place="$")
    return holders[0]


def _holders(answer: dict[str, Any]) -> Iterator[_Holder]:
    if _holds_arrays(answer):
        yield _Holder("$", None, answer)
    for key, value in answer.items():
        if key in _STATUS_FIELDS or key in _ARRAYS:
            continue
        path = _below("$", key)
        if _holds_arrays(value):
            yield _Holder(path, key, value)
        elif isinstance(value, list) and any(map(_holds_arrays, value)):
            yield _Holder(f"{path}[0]", key, _only_element(value, path))


def _holds_arrays(value: object) -> bool:
    return isinstance(value, dict) and not value.keys().isdisjoint(_ARRAYS)


def _only_element(elements: list[Any], path: str) -> dict[str, Any]:
    # One call asks for one aggregate: which of several it is, nobody can say.
    if len(elements) > 1:
        raise BadPayload(f"{len(elements)} elements where one is due", place=path)
    only: dict[str, Any] = elements[0]
    return only


def _note_unknown_fields(
    answer: dict[str, Any], holder: _Holder, warnings: set[str]
) -> None:
    if holder.key is None:
        known = _STATUS_FIELDS | _ARRAYS.keys()
    else:
        known = _STATUS_FIELDS | {holder.key}
        warnings.update(_unknown_fields(holder.path, holder.fields, _ARRAYS))
    warnings.update(_unknown_fields("$", answer, known))


def _unknown_fields(
    path: str, fields: dict[str, Any], known: Collection[str]
) -> Iterator[str]:
    for name in fields:
        if name not in known:
            yield f"{UNKNOWN_FIELD}: {_below(path, name)}"


def _note_missing_arrays(holder: _Holder, warnings: set[str]) -> None:
    for name in _ARRAYS:
        if holder.fields.get(name) is None:
            what = "null" if name in holder.fields else "absent"
            warnings.add(f"{MISSING_ARRAY}: {_below(holder.path, name)} is {what}")


@dataclass(frozen=True, slots=True)
class _Field:
    value: object
    array_path: str
    index: int
    name: str

    def refused(self, problem: str) -> BadPayload:
        place = f"{self.array_path}[{self.index}].{self.name}"
        return BadPayload(f"{self.name} {problem}", place=place)

    def warning(self, kind: str) -> str:
        # Without the index: a thousand odd entries are one warning.
        return f"{kind}: {self.array_path}[].{self.name}"


def _entries(holder: _Holder, warnings: set[str]) -> Iterator[LossEntry]:
    for name, values in holder.fields.items():
        if name not in _ARRAYS or values is None:
            continue
        path = _below(holder.path, name)
        if not isinstance(values, list):
            raise BadPayload(f"{name} is {shown(values)}, no array", place=path)
        for index, entry in enumerate(values):
            yield _entry(name, entry, path, index, warnings)


def _entry(
    array: str, entry: object, path: str, index: int, warnings: set[str]
) -> LossEntry:
    if not isinstance(entry, dict):
        place = f"{path}[{index}]"
        raise BadPayload(f"the entry is {shown(entry)}, no object", place=place)

    def field(name: str) -> _Field:
        return _Field(entry.get(name), path, index, name)

    platform_id, known = None, _ENTRY_FIELDS
    if array in _PLATFORM_STAGES:
        platform_id = _platform_id(field("PushPlatform"), warnings)
        known = _PLATFORM_ENTRY_FIELDS
    warnings.update(_unknown_fields(f"{path}[]", entry, known))
    return LossEntry(
        stage=_ARRAYS[array],
        platform_id=platform_id,
        err_code=_err_code(field("ErrCode")),
        err_info=_err_info(field("ErrInfo"), warnings),
        err_count=_natural(field("ErrCount"), MAX_COUNT, warnings),
    )


def _err_code(field: _Field) -> str:
    if isinstance(field.value, int) and not isinstance(field.value, bool):
        return str(field.value)
    if isinstance(field.value, str):
        return _whole_text(field, field.value)
    raise field.refused(f"is {shown(field.value)}, neither text nor whole number")


def _err_info(field: _Field, warnings: set[str]) -> str | None:
    if field.value is None:
        warnings.add(field.warning(MISSING_FIELD))
        return None
    if isinstance(field.value, str):
        return _whole_text(field, field.value)
    raise field.refused(f"is {shown(field.value)}, not text")


def _whole_text(field: _Field, text: str) -> str:
    if _storable(text) != text:
        raise field.refused("holds half a surrogate pair")
    return text


def _platform_id(field: _Field, warnings: set[str]) -> int:
    if field.value is None:
        # The page: "default return 0".
        warnings.add(field.warning(MISSING_FIELD))
        return 0
    platform_id = _natural(field, MAX_PLATFORM_ID, warnings)
    if platform_id not in PLATFORM_NAMES:
        warnings.add(f"{field.warning(UNKNOWN_PLATFORM)} is {platform_id}")
    return platform_id


def _natural(field: _Field, maximum: int, warnings: set[str]) -> int:
    number = _whole_number(field.value)
    if number is None or not 0 <= number <= maximum:
        raise field.refused(
            f"is {shown(field.value)}, not a whole number from 0 to {maximum}"
        )
    if isinstance(field.value, str):
        warnings.add(field.warning(TEXT_NUMBER))
    return number
