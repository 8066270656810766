"""What a server or the way to it can do to an answer: a catalogue of named faults.

A fault is told in steps on the bare connection, and ends with the connection: HTTP's
own words do for none of the worst ones.
"""

import gzip
import json
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from itertools import repeat
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

MEGABYTE = 10**6
LARGE_BYTES = 200 * MEGABYTE
AWAY_SECONDS = 1.0
"""How long `refused` lets nobody in."""
FOR_EVER = 3600.0
"""Seconds that outlast the patience of any caller."""


class Act(Enum):
    """What is done to the connection, beside sending."""

    RESET = "reset"
    """Drop it as a crashed host does."""
    GO_AWAY = "go away"
    """Drop all connections and let nobody in for a second."""


Step = bytes | float | Act
"""Bytes to send, seconds to wait, or an act. After the last one the server hangs up."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a call asked for, and what it would have been told."""

    address: str = field(repr=False)
    """Path and query as they came: the signature stands in it."""
    truth: bytes


@dataclass(frozen=True, slots=True)
class Fault:
    """One way to go wrong; `does` says in a line what the server does."""

    name: str
    does: str
    steps: Callable[[Asked], Iterable[Step]]


class UnknownFault(ValueError):
    """No fault has this name; the text lists those that there are."""


def find_fault(name: str) -> Fault:
    """Return the fault of this name, `error_code_60011` and the like included."""
    if code := re.fullmatch(r"error_code_(\d{1,9})", name):
        return _error_code(int(code[1]))
    if name not in _BY_NAME:
        known = ", ".join((*_BY_NAME, "error_code_60011 (or any other code)"))
        raise UnknownFault(f"no fault is named {name!r}; there are: {known}")
    return _BY_NAME[name]


def find_faults(names: str) -> tuple[Fault, ...]:
    """Return the faults of a list with commas, or the whole catalogue for `all`."""
    if names == "all":
        return FAULTS
    return tuple(find_fault(name.strip()) for name in names.split(","))


def _error_code(code: int) -> Fault:
    body = {
        "ActionStatus": "FAIL",
        "ErrorCode": code,
        "ErrorInfo": f"simulated error {code}",
    }
    return Fault(f"error_code_{code}", f"answers ErrorCode {code}", _answers(body))


def _whole(
    body: bytes = b"",
    *,
    status: str = "200 OK",
    kind: str = "application/json",
    **headers: str,
) -> bytes:
    """Spell out an answer; names of headers are written with underscores."""
    return _head(status, kind=kind, content_length=str(len(body)), **headers) + body


def _head(status: str = "200 OK", **headers: str) -> bytes:
    kind = headers.pop("kind", "application/json")
    lines = [f"HTTP/1.1 {status}", f"Content-Type: {kind}", "Connection: close"]
    lines += [f"{name.replace('_', '-')}: {text}" for name, text in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode()


def _json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


_Steps = Callable[[Asked], Iterable[Step]]
_Fields = dict[str, Any]


def _says(*steps: Step) -> _Steps:
    return lambda asked: steps


def _answers(body: object) -> _Steps:
    return _says(_whole(body if isinstance(body, bytes) else _json(body)))


def _page(status: str, **headers: str) -> _Steps:
    page = f"<html><head><title>{status}</title></head><body>busy</body></html>\n"
    return _says(_whole(page.encode(), status=status, kind="text/html", **headers))


def _sends(change: Callable[[bytes], bytes], **headers: str) -> _Steps:
    """Send the true answer with its bytes changed."""
    return lambda asked: [_whole(change(asked.truth), **headers)]


def _tells(change: Callable[[_Fields], object]) -> _Steps:
    """Send the true answer with its fields changed."""
    return lambda asked: [_whole(_json(change(json.loads(asked.truth))))]


def _tells_rows(change: Callable[[_Fields], Mapping[str, object]]) -> _Steps:
    """Send the true answer with every row changed."""

    def changed(fields: _Fields) -> _Fields:
        return {
            name: [change(row) for row in value] if isinstance(value, list) else value
            for name, value in fields.items()
        }

    return _tells(changed)


def _tells_first_count(text: str) -> _Steps:
    """Send the true answer with this in the place of its first count."""
    count = re.compile(rb'(?<="ErrCount":)\d+')
    return _sends(lambda truth: count.sub(text.encode(), truth, count=1))


def _in_halves(*between: Step) -> _Steps:
    """Send half of the true answer, then this; the rest never comes."""

    def steps(asked: Asked) -> Iterator[Step]:
        whole = _whole(asked.truth)
        yield whole[: len(whole) - len(asked.truth) // 2]
        yield from between

    return steps


def _in_pieces(asked: Asked) -> Iterator[Step]:
    whole = _whole(asked.truth)
    for start in range(0, len(whole), 1000):
        yield whole[start : start + 1000]
        yield 0.005


def _dripping(asked: Asked) -> Iterator[Step]:
    yield _head(content_length=str(len(asked.truth)))
    for byte in asked.truth:
        yield bytes([byte])
        yield 0.02


def _chunks_cut(asked: Asked) -> Iterator[Step]:
    yield _head(transfer_encoding="chunked")
    yield b"%x\r\n%s\r\n" % (len(asked.truth), asked.truth)


def _large(**headers: str) -> _Steps:
    piece = b" " * 50_000

    def steps(asked: Asked) -> Iterator[Step]:
        yield _head(**headers)
        yield from repeat(piece, LARGE_BYTES // len(piece))

    return steps


def _endless(head: bytes, piece: bytes) -> _Steps:
    def steps(asked: Asked) -> Iterator[Step]:
        yield head
        yield from repeat(piece)

    return steps


def _gzip_bomb(asked: Asked) -> Iterator[Step]:
    """Yield a block that holds a million zeros, over and over: 200 MB inflated."""
    packer = zlib.compressobj(level=9, wbits=16 + zlib.MAX_WBITS)
    yield _head(content_encoding="gzip")
    yield packer.compress(bytes(MEGABYTE)) + packer.flush(zlib.Z_FULL_FLUSH)
    block = packer.compress(bytes(MEGABYTE)) + packer.flush(zlib.Z_FULL_FLUSH)
    yield from repeat(block, LARGE_BYTES // MEGABYTE - 1)


def _filled(value: str) -> _Steps:
    """Add 2 MB of one small value: much more in memory than on the way."""

    def steps(asked: Asked) -> list[Step]:
        values = ",".join(repeat(value, 2 * MEGABYTE // (len(value) + 1)))
        return [_whole(asked.truth[:-1] + f',"Extra":[{values}]}}'.encode())]

    return steps


def _echoes(spell: Callable[[str], str]) -> _Steps:
    """Refuse the call, and quote its address and signature in a spelling."""

    def steps(asked: Asked) -> list[Step]:
        (usersig,) = parse_qs(urlsplit(asked.address).query)["usersig"]
        info = "cannot serve %s (%s)"
        head = '{"ActionStatus":"FAIL","ErrorCode":60002,"ErrorInfo":"'
        text = info % (spell(asked.address), spell(usersig))
        return [_whole(f'{head}{text}"}}'.encode())]

    return steps


def _echoes_in_page(asked: Asked) -> list[Step]:
    page = f"<html><h1>Not Found</h1>The requested URL {asked.address} is not here.\n"
    return [_whole(page.encode(), status="404 Not Found", kind="text/html")]


def _echoes_in_headers(asked: Asked) -> list[Step]:
    status = f"302 see {asked.address}"
    return [_whole(status=status, location=asked.address, set_cookie=asked.address)]


def _echoes_in_row(asked: Asked) -> list[Step]:
    fields = json.loads(asked.truth)
    for row in fields.get("ReadyToSendLoss", [])[:1]:
        row["ErrInfo"] = f"lost by {asked.address}"
    return [_whole(_json(fields))]


def _escaped(text: str) -> str:
    return "".join(f"\\u{ord(char):04x}" for char in text)


def _without_arrays(fields: _Fields) -> _Fields:
    return {name: v for name, v in fields.items() if not isinstance(v, list)}


def _null_arrays(fields: _Fields) -> _Fields:
    return {name: None if isinstance(v, list) else v for name, v in fields.items()}


def _key_twice(truth: bytes) -> bytes:
    return truth.replace(b'"ErrCount":', b'"ErrCount":0,"ErrCount":', 1)


def _cut_in_half(truth: bytes) -> bytes:
    return truth[: len(truth) // 2]


FAULTS: tuple[Fault, ...] = (
    # the way
    Fault(
        "refused",
        "drops all connections and refuses new ones for a second",
        _says(Act.GO_AWAY),
    ),
    Fault("hang_up", "closes the connection without a byte", _says()),
    Fault("reset", "resets the connection before an answer", _says(Act.RESET)),
    Fault(
        "reset_in_body",
        "resets the connection in the middle of the body",
        _in_halves(0.02, Act.RESET),
    ),
    Fault("cut_body", "closes the connection in the middle of the body", _in_halves()),
    Fault("cut_chunks", "ends a chunked body without its last chunk", _chunks_cut),
    Fault("silence", "takes the call and never answers", _says(FOR_EVER)),
    Fault(
        "silence_in_body",
        "falls silent in the middle of the body",
        _in_halves(FOR_EVER),
    ),
    Fault("drip", "sends the answer byte by byte, 50 a second", _dripping),
    Fault("pieces", "sends the true answer in small pieces, with pauses", _in_pieces),
    Fault(
        "no_http",
        "speaks another protocol",
        _says(b"220 mail.example.com ESMTP\r\n\r\n"),
    ),
    # the status
    Fault("http_500", "answers 500 with an HTML page", _page("500 Internal Error")),
    Fault("http_502", "answers 502 with an HTML page", _page("502 Bad Gateway")),
    Fault("http_503", "answers 503 with an HTML page", _page("503 Unavailable")),
    Fault(
        "http_429",
        "answers 429 with Retry-After: 7",
        _page("429 Too Many Requests", retry_after="7"),
    ),
    Fault("http_404", "answers 404 with an HTML page", _page("404 Not Found")),
    Fault(
        "redirect",
        "sends the caller elsewhere (302)",
        _says(_whole(status="302 Found", location="/elsewhere")),
    ),
    Fault(
        "truth_in_500",
        "sends the true answer with status 500",
        lambda asked: [_whole(asked.truth, status="500 Internal Error")],
    ),
    # the body
    Fault("html_200", "answers 200 with an HTML page", _page("200 OK")),
    Fault(
        "content_type",
        "sends the true answer as text/html",
        _sends(bytes, kind="text/html"),
    ),
    Fault("empty_body", "answers 200 without a body", _answers(b"")),
    Fault(
        "invalid_json",
        "sends the true answer with a comma too many",
        _sends(lambda truth: truth[:-1] + b",}"),
    ),
    Fault(
        "half_json", "sends half of the true answer as a whole", _sends(_cut_in_half)
    ),
    Fault("nesting", "nests 100,000 arrays", _answers(b"[" * 100_000)),
    Fault(
        "nesting_closed",
        "nests 100,000 arrays in an OK answer, and closes them",
        _sends(
            lambda truth: truth[:-1] + b',"A":%s%s}' % (b"[" * 100_000, b"]" * 100_000)
        ),
    ),
    Fault(
        "large_body",
        "announces and sends 200 MB",
        _large(content_length=str(LARGE_BYTES)),
    ),
    Fault("large_stream", "sends 200 MB without a word of it", _large()),
    Fault(
        "endless",
        "sends chunks without end",
        _endless(_head(transfer_encoding="chunked"), b"8000\r\n%s\r\n" % bytes(0x8000)),
    ),
    Fault(
        "endless_head",
        "sends headers without end",
        _endless(b"HTTP/1.1 200 OK\r\n", b"X-More: and more\r\n" * 500),
    ),
    Fault("gzip_bomb", "sends 200 MB packed into 0.2 MB of gzip", _gzip_bomb),
    Fault(
        "gzip",
        "sends the true answer in gzip",
        _sends(gzip.compress, content_encoding="gzip"),
    ),
    Fault(
        "gzip_damaged",
        "sends gzip with a wrong checksum",
        _sends(
            lambda truth: gzip.compress(truth)[:-8] + bytes(8), content_encoding="gzip"
        ),
    ),
    Fault(
        "gzip_cut",
        "sends gzip without its end",
        _sends(lambda truth: gzip.compress(truth)[:-20], content_encoding="gzip"),
    ),
    Fault(
        "brotli",
        "sends bytes that are said to be in brotli",
        _sends(bytes, content_encoding="br"),
    ),
    Fault(
        "gbk",
        "sends the true answer in GBK",
        _sends(lambda truth: truth.decode().encode("gb18030")),
    ),
    Fault(
        "utf16",
        "sends the true answer in UTF-16",
        _sends(lambda truth: truth.decode().encode("utf-16")),
    ),
    Fault(
        "byte_order_mark",
        "sends the true answer after a byte order mark",
        _sends(lambda truth: b"\xef\xbb\xbf" + truth),
    ),
    # the report
    Fault("duplicate_key", "sends a row with ErrCount twice", _sends(_key_twice)),
    Fault(
        "numbers_as_text",
        "sends all counts and platforms as text",
        _tells_rows(
            lambda row: {
                name: str(v) if isinstance(v, int) else v for name, v in row.items()
            }
        ),
    ),
    Fault(
        "codes_as_numbers",
        "sends as numbers the codes that are",
        _tells_rows(
            lambda row: {
                **row,
                "ErrCode": int(row["ErrCode"])
                if re.fullmatch(r"-?[1-9]\d*", row["ErrCode"])
                else row["ErrCode"],
            }
        ),
    ),
    Fault("negative_count", "sends a count of -3", _tells_first_count("-3")),
    Fault("fractional_count", "sends a count of 2.5", _tells_first_count("2.5")),
    Fault("exponent_count", "sends a count of 1e400", _tells_first_count("1e400")),
    Fault("nan_count", "sends a count of NaN", _tells_first_count("NaN")),
    Fault("null_count", "sends a count of null", _tells_first_count("null")),
    Fault("wide_count", "sends a count of 2^63", _tells_first_count(str(2**63))),
    Fault(
        "long_count",
        "sends a count of a million digits",
        _tells_first_count("9" * MEGABYTE),
    ),
    Fault(
        "null_everywhere",
        "sends null for every field",
        _tells(dict.fromkeys),
    ),
    Fault("null_arrays", "answers OK, all four arrays null", _tells(_null_arrays)),
    Fault(
        "null_texts",
        "sends null for every ErrInfo",
        _tells_rows(lambda row: {**row, "ErrInfo": None}),
    ),
    Fault(
        "null_rows",
        "sends rows with null in every field",
        _tells_rows(dict.fromkeys),
    ),
    Fault("no_arrays", "answers OK without the arrays", _tells(_without_arrays)),
    Fault(
        "two_reports",
        "sends the arrays in two places",
        _tells(lambda fields: {**fields, "Results": fields}),
    ),
    Fault(
        "half_character",
        "sends half a surrogate pair as a code",
        _sends(lambda t: t.replace(b'"ErrCode":"', b'"ErrCode":"\\ud800', 1)),
    ),
    Fault(
        "extra_fields",
        "sends a field in every row that the page does not know",
        _tells_rows(lambda row: {**row, "Extra": {"a": [1, None]}}),
    ),
    Fault("many_numbers", "adds a million zeros", _filled("0")),
    Fault("many_objects", "adds 700,000 times {}", _filled("{}")),
    Fault("many_nans", "adds 500,000 times NaN", _filled("NaN")),
    # the signature, quoted back
    Fault("echo_page", "quotes the address in a page of 404", _echoes_in_page),
    Fault("echo_headers", "quotes the address in its headers", _echoes_in_headers),
    Fault("echo_info", "quotes address and signature in ErrorInfo", _echoes(str)),
    Fault("echo_encoded", "quotes them percent-encoded once more", _echoes(quote)),
    Fault(
        "echo_twice",
        "quotes them percent-encoded twice more",
        _echoes(lambda text: quote(quote(text))),
    ),
    Fault("echo_escaped", "quotes them in JSON escapes", _echoes(_escaped)),
    Fault("echo_row", "quotes the address in a row of an OK answer", _echoes_in_row),
)
"""In the order in which `all` tells them."""
_BY_NAME = {fault.name: fault for fault in FAULTS}
