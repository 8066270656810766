"""The search for secrets finds them: what finds nothing proves nothing."""

import base64
import gzip
import sqlite3
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pushloss_pipeline.adapters.usersig import UserSigs
from pushloss_pipeline.domain.model import App
from tests.trust.planted import places, signature_within, spellings, tells

KEY = "5bd2850fff3ecb11d7c805251c51ee463a25727bddc2385f3fa8bfee1bb93b5e"
SHOP = App("shop", 1400000001, "https://a.example", "administrator", KEY)
USERSIG = UserSigs().current(SHOP)
SECRETS = (KEY, USERSIG)
SPELLINGS = {
    f"{whose}, {name}": text
    for whose, secret in (
        ("key", KEY),
        ("usersig", USERSIG),
        ("TLS.sig", signature_within(USERSIG)),
    )
    for name, text in spellings(secret).items()
}

Write = Callable[[Path, bytes], None]


def plainly(path: Path, content: bytes) -> None:
    """A log, a page, a JSON file."""
    path.write_bytes(b"before " + content + b" after")


def zipped(path: Path, content: bytes) -> None:
    """A log that was put away."""
    path.write_bytes(gzip.compress(b"before " + content))


def into_parquet(path: Path, content: bytes) -> None:
    """A table of the record: compressed, a struct in a list."""
    column = pa.array([[{"a": 1, "b": b"x" + content}], None])
    table = pa.table({"n": [1, 2], "c": column})
    pq.write_table(table, path, compression="gzip", write_statistics=False)


def into_sqlite(path: Path, content: bytes) -> None:
    """Dagster's event log, and its habit of compressing values."""
    database = sqlite3.connect(path)
    with database:
        database.execute("create table events (id integer, event blob)")
        packed = base64.b64encode(zlib.compress(content))
        database.execute("insert into events values (1, null), (2, ?)", [packed])
    database.close()


def into_duckdb(path: Path, *contents: bytes) -> None:
    """Tables outside the usual schema; DuckDB compresses values by a dictionary."""
    with duckdb.connect(path) as database:
        database.execute("create schema s")
        for number, content in enumerate(contents):
            database.execute(
                f"create table s.t{number} as select [?::blob, 'x'] as c"
                " union all select ['other'] from range(100)",
                [b"x" + content],
            )


@pytest.mark.parametrize("write", [plainly, zipped, into_parquet, into_sqlite])
def test_every_spelling_is_found_in_every_file(tmp_path: Path, write: Write) -> None:
    """However a secret is spelled and wherever it is packed, it is found."""
    for number, content in enumerate(SPELLINGS.values()):
        write(tmp_path / f"{number:03}", content)

    found = {place.partition(":")[0] for place in places(tmp_path, SECRETS)}

    assert list(SPELLINGS) == [
        name for n, name in enumerate(SPELLINGS) if f"{n:03}" in found
    ]


def test_every_spelling_is_found_in_a_warehouse(tmp_path: Path) -> None:
    """Each is told by its table and column."""
    into_duckdb(tmp_path / "a.duckdb", *SPELLINGS.values())

    found = places(tmp_path, SECRETS)

    assert list(SPELLINGS) == [
        name for n, name in enumerate(SPELLINGS) if f"a.duckdb: t{n}.c" in found
    ]


def test_pieces_are_found(tmp_path: Path) -> None:
    """A secret that was cut off, broken over lines or shortened is found too."""
    texts = {
        "head": USERSIG[: len(USERSIG) // 2],
        "tail": KEY[len(KEY) // 2 :],
        "folded": "\n    ".join(KEY[n : n + 10] for n in range(0, 64, 10)),
        "shortened": f"input_value='{KEY[:25]}...{KEY[-24:]}'",
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(f"before {text} after")

    found = [place.partition(":")[0] for place in places(tmp_path, SECRETS)]

    assert sorted(texts) == found
    assert all(tells(text, SECRETS) for text in texts.values())


def test_any_usersig_is_found(tmp_path: Path) -> None:
    """Also one that only the process knew which made it."""
    other = UserSigs().current(replace(SHOP, sdk_app_id=1400000002, secret_key="other"))
    (tmp_path / "plain").write_text(f"?usersig={other}&x")
    (tmp_path / "encoded").write_text(f"?usersig={quote(other, safe='')}&x")
    (tmp_path / "harmless").write_text(f"eJ{KEY[::-1]}{KEY[::-1]}")

    assert ["encoded: bytes", "plain: bytes"] == places(tmp_path, SECRETS)


def test_names_are_looked_at(tmp_path: Path) -> None:
    """A file or folder may be named after a secret."""
    (tmp_path / f"of {KEY}").mkdir()

    assert [f"of {KEY}: its name"] == places(tmp_path, SECRETS)


def test_what_is_not_secret_is_not_found(tmp_path: Path) -> None:
    """Another app's key, and the public parts of a signature, are no find."""
    for write in (plainly, zipped, into_parquet, into_sqlite, into_duckdb):
        write(tmp_path / write.__name__, b"administrator 1400000001 " + b"5b" * 32)

    assert [] == places(tmp_path, SECRETS)
