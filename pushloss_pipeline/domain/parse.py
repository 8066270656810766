"""Reads an answer of the API: its status, and the loss report of an OK one.

What cannot be read with certainty is refused with its place; what is merely
odd is read, with a warning. The caller keeps the bytes in either case.
"""

import json
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
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
_EXCERPT_LENGTH = 60

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
    return Status(
        error_code=_code(_either(answer, "ErrorCode", "ResultCode")),
        error_info=_storable(info) if isinstance(info, str) else None,
    )


def parse_report(body: bytes) -> LossReport:
    """The loss report of an OK answer; raises BadPayload rather than guess."""
    answer = _load(body)
    if not isinstance(answer, dict):
        raise BadPayload(f"the answer is {_shown(answer)}, no object", place="$")
    warnings: set[str] = set()
    _require_ok(answer, warnings)
    holder = _find_holder(answer)
    _note_unknown_fields(answer, holder, warnings)
    _note_missing_arrays(holder, warnings)
    return LossReport(
        envelope=holder.envelope,
        entries=tuple(_entries(holder, warnings)),
        warnings=tuple(sorted(warnings)),
    )


@dataclass(frozen=True, slots=True)
class _Unreadable:
    problem: str


class _Marks:
    # The json module keeps the last of two equal keys and reads NaN. Its hooks do
    # not know where they are, so they leave a mark, and a walk finds its path. One
    # mark is enough, and where there is none, none walks: an answer of nothing but
    # zeros would cost a hundred times its size.
    def __init__(self) -> None:
        self.last: _Unreadable | None = None

    def object_without_repeats(self, pairs: list[tuple[str, object]]) -> object:
        fields = dict(pairs)
        if len(fields) == len(pairs):
            return fields
        # Always marked: an earlier mark may be in the value that another displaced.
        name = next(n for n, c in Counter(name for name, _ in pairs).items() if c > 1)
        self.last = _Unreadable(f"the key {_shown(name)} stands twice in one object")
        return self.last

    def int_of_sane_length(self, digits: str) -> object:
        if len(digits) <= _MAX_DIGITS:
            return int(digits)
        return self._value_marked(f"a number of {len(digits)} digits is too long")

    def no_number(self, constant: str) -> object:
        return self._value_marked(f"{constant} is no number")

    def _value_marked(self, problem: str) -> object:
        if self.last is not None:
            return None
        self.last = _Unreadable(problem)
        return self.last


def _load(body: bytes) -> object:
    marks = _Marks()
    try:
        text = _text(body)
        tree = json.loads(
            text,
            object_pairs_hook=marks.object_without_repeats,
            parse_int=marks.int_of_sane_length,
            parse_constant=marks.no_number,
        )
    except UnicodeDecodeError as error:
        raise BadPayload("not UTF-8 text", place=f"byte {error.start}") from error
    except json.JSONDecodeError as error:
        raise BadPayload(
            f"not valid JSON, unreadable from {_excerpt(text, error.pos)}",
            place=f"line {error.lineno} column {error.colno}",
        ) from error
    except RecursionError as error:
        raise BadPayload("nested too deeply to be read", place="$") from error
    if marks.last is not None:
        place = next(path for path, value in _nodes(tree) if value is marks.last)
        raise BadPayload(marks.last.problem, place=place)
    return tree


def _text(body: bytes) -> str:
    return body.decode().removeprefix("\ufeff")


def _nodes(tree: object) -> Iterator[tuple[str, object]]:
    """Yield each value with its path, holding no more of them than the tree is deep."""
    waiting = [iter([("$", tree)])]
    while waiting:
        for path, value in waiting[-1]:
            yield path, value
            if isinstance(value, dict | list):
                waiting.append(_children(path, value))
                break
        else:
            waiting.pop()


def _children(
    path: str, value: dict[str, object] | list[object]
) -> Iterator[tuple[str, object]]:
    if isinstance(value, dict):
        return ((_below(path, name), item) for name, item in value.items())
    return ((f"{path}[{i}]", item) for i, item in enumerate(value))


def _below(path: str, name: str) -> str:
    plain = name.isidentifier() and len(name) <= _EXCERPT_LENGTH
    return f"{path}.{name}" if plain else f"{path}[{_shown(name)}]"


def _shown(value: object) -> str:
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "an array"
    text = _storable(json.dumps(value, ensure_ascii=False))
    if len(text) <= _EXCERPT_LENGTH:
        return text
    return text[:_EXCERPT_LENGTH] + "…"


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
                f"not an OK answer: {name} is {_shown(answer[name])}",
                place=f"$.{name}",
            )
        if isinstance(answer[name], str):
            warnings.add(f"{TEXT_NUMBER}: $.{name}")
    if answer.get("ActionStatus") != "OK":
        raise BadPayload(
            f"not an OK answer: {codes[0]} is 0 but ActionStatus is "
            f"{_shown(answer.get('ActionStatus'))}",
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
    holders = list(_holders(answer))
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
            raise BadPayload(f"{name} is {_shown(values)}, no array", place=path)
        for index, entry in enumerate(values):
            yield _entry(name, entry, path, index, warnings)


def _entry(
    array: str, entry: object, path: str, index: int, warnings: set[str]
) -> LossEntry:
    if not isinstance(entry, dict):
        place = f"{path}[{index}]"
        raise BadPayload(f"the entry is {_shown(entry)}, no object", place=place)

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
    raise field.refused(f"is {_shown(field.value)}, neither text nor whole number")


def _err_info(field: _Field, warnings: set[str]) -> str | None:
    if field.value is None:
        warnings.add(field.warning(MISSING_FIELD))
        return None
    if isinstance(field.value, str):
        return _whole_text(field, field.value)
    raise field.refused(f"is {_shown(field.value)}, not text")


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
            f"is {_shown(field.value)}, not a whole number from 0 to {maximum}"
        )
    if isinstance(field.value, str):
        warnings.add(field.warning(TEXT_NUMBER))
    return number
