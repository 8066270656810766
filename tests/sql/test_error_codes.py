"""Which meaning a code gets: the order in which the catalogues are asked."""

from typing import Any

import duckdb
import pyarrow as pa
import pytest

from pushloss_pipeline.adapters.sql_files import read_statement
from pushloss_pipeline.domain.tables import KNOWN_CODES, PUSH_LOSS

READY, POST = "ready_to_send", "post_send_delivered"


def known(err_code: str, meaning: str, **changed: Any) -> dict[str, Any]:
    """A row of a catalogue, for all stages and platforms."""
    return {
        "stage": "",
        "platform": "",
        "err_code": err_code,
        "meaning": meaning,
        "category": "app_config",
        "owner": "backend",
        "action": "act",
        "source": "",
        "is_users": False,
        **changed,
    }


OURS = [
    known("-1", "no certificate", stage=READY),
    known("-1", "system error", platform="xiaomi"),
    known("403", "rejected", platform="apns"),
    known("Unregistered", "app removed", platform="apns"),
    known("BadTopic", "bad topic", platform="apns"),
    known("32", "switched off", platform="xiaomi"),
]


def resolved(
    *losses: tuple[str, str, str, str | None], users: tuple[dict[str, Any], ...] = ()
) -> dict[tuple[str, str, str], tuple[str, str]]:
    """Meaning and how it was found, by key, of losses (stage, platform, code, text)."""
    connection = duckdb.connect()
    connection.register(
        "known_codes", pa.Table.from_pylist([*OURS, *users], schema=KNOWN_CODES)
    )
    connection.execute("create table platforms as select 'apns' as platform")
    rows = [
        {
            **dict.fromkeys(PUSH_LOSS.column_names, None),
            "scope": "platform",
            "stage": stage,
            "platform": platform,
            "err_code": code,
            "err_info": text,
            "err_count": 1 + number,
        }
        for number, (stage, platform, code, text) in enumerate(losses)
    ]
    table = pa.Table.from_pylist(rows, schema=pa.schema(PUSH_LOSS.schema))
    connection.register("push_loss", table)
    found = connection.execute(
        "select stage, platform, err_code, meaning, resolved_by"
        f" from ({read_statement('tables', 'error_codes').text})"
    ).fetchall()
    connection.close()
    assert len({row[:3] for row in found}) == len(found)
    return {row[:3]: row[3:] for row in found}


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        ((READY, "xiaomi", "-1", None), ("no certificate", "code")),
        ((POST, "xiaomi", "-1", None), ("system error", "code")),
        ((POST, "apns", "403", "BadTopic"), ("rejected", "code")),
        ((READY, "apns", "403", None), ("rejected", "code")),
        ((POST, "apns", "7", '{"reason":"Unregistered"}'), ("app removed", "text")),
        ((POST, "apns", "7", "NotUnregistered"), ("Not in the catalogue", "nothing")),
        ((POST, "fcm", "7", "Unregistered"), ("Not in the catalogue", "nothing")),
        ((POST, "xiaomi", "7", "code 32"), ("Not in the catalogue", "nothing")),
        ((POST, "platform_9", "1", None), ("Not in the catalogue", "nothing")),
        ((READY, "platform_9", "-1", None), ("no certificate", "code")),
    ],
    ids=[
        "the vendor's own at ready-to-send",
        "the same code after sending",
        "a code before its text",
        "a platform's code at either stage",
        "a code in the text",
        "only as a whole word",
        "only of the same platform",
        "a number in the text is no code",
        "unknown platform",
        "the vendor's own on an unknown platform",
    ],
)
def test_each_code_is_resolved_in_order(loss, expected):
    """Own codes, then (platform, code), then text, then unknown; never dropped."""
    assert expected == resolved(loss)[loss[:3]]


def test_a_code_met_with_many_texts_has_one_meaning():
    """The text that counts most losses says it."""
    found = resolved(
        (POST, "apns", "7", "BadTopic"), (POST, "apns", "7", "Unregistered")
    )

    assert ("app removed", "text") == found[POST, "apns", "7"]


def test_codes_never_met_stand_for_both_stages_and_all_their_platforms():
    """The dimension is the whole catalogue, not only what was lost."""
    found = resolved()

    assert ("rejected", "code") == found[READY, "apns", "403"]
    assert ("rejected", "code") == found[POST, "apns", "403"]
    assert ("no certificate", "code") == found[READY, "xiaomi", "-1"]
    assert (POST, "apns", "-1") not in found


def test_the_users_rows_go_before_ours_but_not_before_the_vendors_own():
    """A row for one stage beats them all."""
    users = (
        known("403", "ask Ann", platform="apns", is_users=True),
        known("-1", "xiaomi is odd", platform="xiaomi", is_users=True),
        known("7", "seven", platform="apns", stage=POST, is_users=True),
    )
    found = resolved((POST, "apns", "7", "Unregistered"), users=users)

    assert ("ask Ann", "code") == found[POST, "apns", "403"]
    assert ("xiaomi is odd", "code") == found[POST, "xiaomi", "-1"]
    assert ("no certificate", "code") == found[READY, "xiaomi", "-1"]
    assert ("seven", "code") == found[POST, "apns", "7"]
