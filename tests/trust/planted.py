"""Finds secrets in whatever a run left behind, however they are spelled or packed.

`places` looks into every file below a folder: at its bytes, and at what is in it where
it is a database, a Parquet file or compressed. It looks for the ends of a long secret,
so that half of one is found too; and for any usersig, whoever signed it.
"""

import base64
import binascii
import html
import json
import re
import shutil
import sqlite3
import tempfile
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from urllib.parse import quote, unquote

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

PIECE = 24
"""So many characters of a secret give it away; no other text has them by chance."""
_LONGEST_INFLATED = 64 * 1024 * 1024
_LIKE_A_USERSIG = re.compile(rb"eJ[\w*%-]{80,}")
_BASE64 = re.compile(rb"[A-Za-z0-9+/]{16,}={0,2}")

Found = Iterator[tuple[str, bytes]]
"""Places, each with what stands there."""


def places(folder: Path, secrets: Iterable[str]) -> list[str]:
    """Every place below the folder where one of these stands: file, table, column."""
    needles = _needles(secrets)
    found = set()
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if _is_in(name.encode(), needles):
            found.add(f"{name}: its name")
        if path.is_file():
            found.update(
                f"{name}: {where}"
                for where, content in _contents(path)
                if _is_in(content, needles)
            )
    return sorted(found)


def tells(text: str | bytes, secrets: Iterable[str]) -> bool:
    """Whether one of these stands in a text, over the ends of its lines too."""
    content = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    return _is_in(content, _needles(secrets))


def signature_within(usersig: str) -> str:
    """The HMAC in a usersig: `TLS.sig`, what makes it worth stealing."""
    in_base64 = usersig.translate(str.maketrans("*-_", "+/="))
    fields = json.loads(zlib.decompress(base64.b64decode(in_base64, validate=True)))
    return str(fields["TLS.sig"])


def spellings(secret: str) -> dict[str, bytes]:
    """A secret as URLs, JSON, HTML, logs, dumps and headers would have it."""
    raw = secret.encode()
    encoded = quote(secret, safe="")
    twice = quote(encoded, safe="")
    texts = {
        "plain": secret,
        "upper case": secret.upper(),
        "lower case": secret.lower(),
        "percent-encoded": encoded,
        "percent-encoded, lower case": _lower_hex(encoded),
        "percent-encoded twice": twice,
        "percent-encoded twice, lower case": _lower_hex(twice),
        "percent-encoded throughout": _each(raw, "%{:02X}"),
        "percent-encoded throughout, lower case": _each(raw, "%{:02x}"),
        "percent-encoded throughout, twice": _each(raw, "%25{:02X}"),
        "JSON-escaped": json.dumps(secret)[1:-1].replace("/", r"\/"),
        "JSON-escaped where special": re.sub(
            r"\W", lambda found: f"\\u{ord(found[0]):04x}", secret
        ),
        "JSON-escaped throughout": _each(raw, r"\u{:04x}"),
        "JSON-escaped throughout, upper case": _each(raw, r"\u{:04X}"),
        "JSON-escaped twice": _each(raw, r"\\u{:04x}"),
        "HTML-escaped": html.escape(secret),
        "HTML-escaped throughout": _each(raw, "&#{};"),
        "HTML-escaped throughout, in hex": _each(raw, "&#x{:x};"),
        "as Python shows it": repr(secret)[1:-1],
        "as Python shows its bytes": _each(raw, r"\x{:02x}"),
        "hex": raw.hex(),
        "hex, upper case": raw.hex().upper(),
        **_in_base64(raw),
    }
    return {
        **{name: text.encode() for name, text in texts.items()},
        "UTF-16": secret.encode("utf-16-le"),
        "UTF-16, big endian": secret.encode("utf-16-be"),
    }


def _each(raw: bytes, form: str) -> str:
    return "".join(form.format(byte) for byte in raw)


def _lower_hex(encoded: str) -> str:
    return re.sub("%[0-9A-F]{2}", lambda found: found[0].lower(), encoded)


def _in_base64(raw: bytes) -> dict[str, str]:
    """Base64 of a text that holds it, as far as it depends on the secret alone."""
    found = {}
    for before in range(3):
        first = -(-before * 4 // 3)
        whole = base64.b64encode(bytes(before) + raw)
        last = (before + len(raw)) // 3 * 4
        standard = whole[first:last].decode()
        found[f"base64 after {before} bytes"] = standard
        found[f"base64url after {before} bytes"] = standard.translate(
            str.maketrans("+/", "-_")
        )
    return found


def _needles(secrets: Iterable[str]) -> tuple[bytes, ...]:
    texts = {secret.strip() for secret in secrets}
    assert texts and min(map(len, texts)) >= 8, "too short to be searched for"
    texts.update(signature_within(text) for text in tuple(texts) if _is_usersig(text))
    pieces = {piece for text in texts for piece in (text[:PIECE], text[-PIECE:])}
    return tuple({s for piece in pieces for s in spellings(piece).values()})


def _is_usersig(text: str | bytes) -> bool:
    try:
        return bool(signature_within(unquote(text)))
    except (binascii.Error, zlib.error, ValueError, KeyError):
        return False


def _is_in(content: bytes, needles: Collection[bytes]) -> bool:
    if any(needle in content for needle in needles):
        return True
    if any(map(_is_usersig, _LIKE_A_USERSIG.findall(content))):
        return True
    is_text = b"\0" not in content
    unbroken = content.translate(None, b" \t\r\n") if is_text else b""
    return any(needle in unbroken for needle in needles)


def _contents(path: Path) -> Found:
    """The bytes of a file, then what is packed in them, each with its place."""
    content = path.read_bytes()
    yield "bytes", content
    yield from (("compressed", inner) for inner in _unpacked(content))
    if content.startswith(b"PAR1"):
        yield from _columns("", pq.read_table(path))
    elif content.startswith(b"SQLite format 3\0"):
        yield from _of_a_copy(path, _in_sqlite)
    elif content[8:12] == b"DUCK":
        yield from _of_a_copy(path, _in_duckdb)


def _of_a_copy(path: Path, look: Callable[[Path], Found]) -> Found:
    """Look into a database without a trace in its folder: locks, journals."""
    with tempfile.TemporaryDirectory() as folder:
        for ending in ("", "-wal", ".wal"):
            beside = path.with_name(path.name + ending)
            if beside.is_file():
                copy = Path(folder) / f"copy{ending}"
                shutil.copyfile(beside, copy)
        yield from look(Path(folder) / "copy")


def _in_sqlite(path: Path) -> Found:
    database = sqlite3.connect(path)
    database.text_factory = bytes
    try:
        names = database.execute("select name from sqlite_master where type = 'table'")
        for name in [row[0].decode() for row in names.fetchall()]:
            rows = database.execute(f'select * from "{name}"')
            columns = [column[0] for column in rows.description]
            values = zip(*rows.fetchall(), strict=True)
            for column, cells in zip(columns, values, strict=False):
                yield from _values(f"{name}.{column}", cells)
    finally:
        database.close()


def _in_duckdb(path: Path) -> Found:
    catalogue = ("duckdb_tables", "duckdb_views", "duckdb_functions")
    with duckdb.connect(path, read_only=True) as database:
        for function in catalogue:
            entries = database.execute(
                f"from {function}() where not internal"
            ).to_arrow_table()
            yield from _columns(f"{function}.", entries)
        tables = database.execute(
            "select database_name, schema_name, table_name from duckdb_tables()"
        ).fetchall()
        for names in tables:
            quoted = ".".join(f'"{name}"' for name in names)
            rows = database.execute(f"from {quoted}").to_arrow_table()
            yield from _columns(f"{names[-1]}.", rows)


def _columns(prefix: str, table: pa.Table) -> Found:
    for name, column in zip(table.column_names, table.columns, strict=True):
        if pa.types.is_primitive(column.type):
            continue
        if not pa.types.is_nested(column.type):
            column = column.unique()
        yield from _values(f"{prefix}{name}", column.to_pylist())


def _values(where: str, values: Iterable[object]) -> Found:
    leaves = list(_leaves(values))
    yield where, b"\n".join(leaves)
    for leaf in leaves:
        yield from ((f"{where}, compressed", inner) for inner in _unpacked(leaf))


def _leaves(value: object) -> Iterator[bytes]:
    match value:
        case bytes():
            yield value
        case str():
            yield value.encode("utf-8", "surrogatepass")
        case dict():
            for key, inner in value.items():
                yield from _leaves((key, inner))
        case list() | tuple():
            for inner in value:
                yield from _leaves(inner)
        case _:
            yield str(value).encode()


def _unpacked(content: bytes) -> Iterator[bytes]:
    """What is in gzip, zlib, or base64 of either; nothing where it is neither."""
    if content[:2] == b"\x1f\x8b" or content[:1] == b"\x78":
        inflater = zlib.decompressobj(wbits=32 + zlib.MAX_WBITS)
        try:
            inner = inflater.decompress(content, _LONGEST_INFLATED)
        except zlib.error:
            return
        yield inner
        yield from _unpacked(inner)
    elif content[:2] in (b"eJ", b"eN", b"eA", b"H4") and _BASE64.fullmatch(content):
        try:
            yield from _unpacked(base64.b64decode(content))
        except binascii.Error:
            return
