"""Every table, declared once: its Arrow schema, its meaning, its columns' meaning.

The lake is written by these schemas, the published file is created and
commented by them, and `docs/reference.md` is checked against them.
"""

from dataclasses import dataclass

import pyarrow as pa

from pushloss_pipeline.domain.catalogue import COLUMNS as CATALOGUE_COLUMNS

SCHEMA_VERSION = 2
"""Of the tables of the lake and the published file.

1: without a version. 2: `push_loss_responses.package_version`. A new one is one more
here and one more entry of `UPGRADES` in `adapters/delta.py`.
"""

TIMESTAMP = pa.timestamp("us", tz="UTC")
"""Always UTC-aware: a naive column would shut older Delta readers out."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column: `doc` is one line for people, units included."""

    name: str
    type: pa.DataType
    doc: str
    nullable: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """One table: `grain` says what one row is."""

    name: str
    doc: str
    grain: str
    columns: tuple[Column, ...]

    @property
    def schema(self) -> pa.Schema:
        """The Arrow schema, in declared order."""
        return pa.schema(
            [pa.field(c.name, c.type, nullable=c.nullable) for c in self.columns]
        )

    @property
    def column_names(self) -> tuple[str, ...]:
        """Names in declared order."""
        return tuple(column.name for column in self.columns)


_SDK_APP_ID = Column("sdk_app_id", pa.int64(), "Application (SDKAppID).")
_APP = Column("app", pa.string(), "Its name in the configuration.")
_APP_TODAY = Column(
    "app", pa.string(), "Its name in today's configuration, or the last one it had."
)
_LOSS_DATE = Column("loss_date", pa.date32(), "Day, in the configured zone.")
_MONTH = Column("month", pa.string(), "Month of the day, `YYYY-MM`: the partition.")
_REVISION = Column(
    "revision",
    pa.int32(),
    "1, 2, … of this app and day; rises only when the content changed.",
)
_FETCHED_AT = Column("fetched_at", TIMESTAMP, "When that answer came.")
_RECORDED_AT = Column("recorded_at", TIMESTAMP, "When it entered the record.")
_LOSS = (
    Column(
        "stage", pa.string(), "Where it was lost: ready_to_send, post_send_delivered."
    ),
    Column(
        "scope",
        pa.string(),
        "overall or platform: the same losses twice, so every sum must choose one.",
    ),
    Column(
        "platform_id",
        pa.int32(),
        "Vendor's number 0-8, others kept; NULL for overall.",
        nullable=True,
    ),
    Column(
        "platform",
        pa.string(),
        "unknown, apns, xiaomi, huawei, fcm, meizu, oppo, vivo, honor, "
        "platform_9…; NULL for overall.",
        nullable=True,
    ),
    Column("err_code", pa.string(), "Push error code, as sent, never cast."),
    Column(
        "err_info",
        pa.string(),
        "Most frequent description, as sent; never a key.",
        nullable=True,
    ),
    Column("err_count", pa.int64(), "Losses, in messages."),
)
_STATE = Column(
    "state", pa.string(), "loaded, empty, held, refused, failed or expired."
)
_ROW_COUNT = Column("row_count", pa.int32(), "Rows of the revision that stands.")
_OVERALL_COUNT = Column(
    "overall_count",
    pa.int64(),
    "Losses of the revision that stands, scope overall, in messages.",
)
_ERROR_CODE = Column(
    "error_code", pa.int64(), "ErrorCode of the API, if it gave one.", nullable=True
)
_ERROR_INFO = Column(
    "error_info", pa.string(), "What went wrong, in words.", nullable=True
)
_ENVELOPE = Column(
    "envelope",
    pa.string(),
    "Where in the answer the four arrays were met: top, Results, …",
    nullable=True,
)
_WARNINGS = Column(
    "warnings",
    pa.list_(pa.field("element", pa.string(), nullable=False)),
    "What was odd about the answer, `kind: text` each.",
)


def _as_nullable(*columns: Column) -> tuple[Column, ...]:
    return tuple(Column(c.name, c.type, c.doc, nullable=True) for c in columns)


PUSH_LOSS_RESPONSES = Table(
    "push_loss_responses",
    "What the API said, as received, errors and refusals too; and the decisions that "
    "stand in for an answer (a held day accepted, that taken back, a day expired).",
    "one row per attempt or decision",
    (
        Column("response_id", pa.string(), "Unique, 32 hexadecimal digits."),
        _SDK_APP_ID,
        _APP,
        _LOSS_DATE,
        _MONTH,
        Column("window_start", TIMESTAMP, "StartTime that was asked for."),
        Column("window_end", TIMESTAMP, "EndTime that was asked for."),
        Column("attempt", pa.int32(), "1 for the first try, 2 for its first retry, …"),
        Column("requested_at", TIMESTAMP, "When the call started."),
        _FETCHED_AT,
        _RECORDED_AT,
        Column(
            "outcome",
            pa.string(),
            "answered, no_answer, too_large, expired, accepted or restored.",
        ),
        Column("http_status", pa.int32(), "HTTP status, if any.", nullable=True),
        _ERROR_CODE,
        _ERROR_INFO,
        Column(
            "body",
            pa.binary(),
            "The bytes of the answer; `***` where it quoted our secrets.",
            nullable=True,
        ),
        Column(
            "package_version",
            pa.string(),
            "Version of pushloss_pipeline that recorded it; NULL before schema "
            "version 2.",
            nullable=True,
        ),
    ),
)

PUSH_LOSS_REVISIONS = Table(
    "push_loss_revisions",
    "Every revision of every day, with one marker row each; and one row for each "
    "change of a day's state that brought no revision.",
    "one row per loss, marker or state (row_kind)",
    (
        Column("row_kind", pa.string(), "loss, marker or state."),
        Column(
            "entry_key",
            pa.string(),
            "Sorts the entries of one app and day; unique to one commit. The "
            "greatest key among its markers is the revision that stands.",
        ),
        _SDK_APP_ID,
        _APP,
        _LOSS_DATE,
        _MONTH,
        _REVISION,
        Column("response_id", pa.string(), "The answer that brought this entry."),
        _FETCHED_AT,
        _RECORDED_AT,
        *_as_nullable(*_LOSS),
        *_as_nullable(_STATE, _ROW_COUNT, _OVERALL_COUNT),
        Column("content_hash", pa.string(), "SHA-256 of the revision's rows.", True),
        _ENVELOPE,
        *_as_nullable(_WARNINGS),
        _ERROR_CODE,
        _ERROR_INFO,
    ),
)

PUSH_LOSS = Table(
    "push_loss",
    "What the newest accepted answer of each app and day says.",
    "one row per sdk_app_id, loss_date, stage, scope, platform_id, err_code",
    (_SDK_APP_ID, _APP_TODAY, _LOSS_DATE, *_LOSS, _REVISION, _FETCHED_AT),
)

PUSH_LOSS_HISTORY = Table(
    "push_loss_history",
    "Every revision ever accepted.",
    "one row per sdk_app_id, loss_date, revision, stage, scope, platform_id, err_code",
    (
        *PUSH_LOSS.columns,
        _RECORDED_AT,
        Column(
            "superseded_at",
            TIMESTAMP,
            "When the next revision entered the record; NULL while this one stands.",
            nullable=True,
        ),
    ),
)

PUSH_LOSS_DAYS = Table(
    "push_loss_days",
    "What is known of each app and day that was ever asked for.",
    "one row per sdk_app_id, loss_date",
    (
        _SDK_APP_ID,
        _APP_TODAY,
        _LOSS_DATE,
        _STATE,
        Column("revision", pa.int32(), "Revision that stands; 0 while none does."),
        _ROW_COUNT,
        _OVERALL_COUNT,
        Column(
            "fetched_at", TIMESTAMP, "When the answer came that brought this state."
        ),
        Column(
            "ended_at",
            TIMESTAMP,
            "When the day was over in the configured zone; ages count from here.",
        ),
        Column("expires_at", TIMESTAMP, "When the API forgets this day."),
        Column(
            "is_young",
            pa.bool_(),
            "Last asked before its counts had settled: they rise if it is asked again, "
            "and stay too low once the API has forgotten it.",
        ),
        _ERROR_CODE,
        _ERROR_INFO,
        _ENVELOPE,
        _WARNINGS,
    ),
)

PUSH_LOSS_MATURITY = Table(
    "push_loss_maturity",
    "How much of a day's final losses was known at each age of the day: measured on "
    "the newest 90 days that the API has forgotten, and told of at their last age.",
    "one row per stage, scope, platform_id, age_days",
    (
        Column("stage", pa.string(), "As in push_loss."),
        Column("scope", pa.string(), "As in push_loss: choose one."),
        Column("platform_id", pa.int32(), "As in push_loss.", nullable=True),
        Column("platform", pa.string(), "As in push_loss.", nullable=True),
        Column(
            "age_days",
            pa.int32(),
            "Whole days from the end of the day to the answer: 0 the morning after.",
        ),
        Column(
            "day_count",
            pa.int64(),
            "App days measured: asked at this age, 20 final losses or more.",
        ),
        Column("final_count", pa.int64(), "Their final losses, in messages."),
        Column(
            "share_reached",
            pa.float64(),
            "Part of these that was known; over 1 where codes were withdrawn.",
        ),
        Column("share_low", pa.float64(), "The same by app day: a tenth had less."),
        Column("share_median", pa.float64(), "Half of the app days had less."),
        Column("share_high", pa.float64(), "A tenth of the app days had more."),
    ),
)

APPS = Table(
    "apps",
    "Applications that are configured or have ever been loaded.",
    "one row per sdk_app_id",
    (
        _SDK_APP_ID,
        _APP_TODAY,
        Column("is_configured", pa.bool_(), "In today's configuration."),
        Column("base_url", pa.string(), "Host that is asked.", nullable=True),
        Column(
            "first_date",
            pa.date32(),
            "First day that the API was asked for in time, or that has an accepted "
            "answer; its days are expected from then on.",
            nullable=True,
        ),
    ),
)

PLATFORMS = Table(
    "platforms",
    "Push vendors, by the API's number.",
    "one row per platform_id",
    (
        Column("platform_id", pa.int32(), "PushPlatform of the API."),
        Column("platform", pa.string(), "Its name in every table and view."),
        Column("vendor", pa.string(), "Its name for people."),
    ),
)

ERROR_CODES = Table(
    "error_codes",
    "What a code means and whose move it is: the catalogue, and every other code "
    "that was ever met. Join it by all three columns of its key.",
    "one row per stage, platform, err_code",
    (
        Column("stage", pa.string(), "As in push_loss."),
        Column("platform", pa.string(), "As in push_loss, scope platform."),
        Column("err_code", pa.string(), "As in push_loss."),
        Column("meaning", pa.string(), "What happened, in a sentence."),
        Column(
            "category",
            pa.string(),
            "token_invalid, app_config, quota_or_rate, message_content, device_state, "
            "vendor_outage, permission or unknown.",
        ),
        Column(
            "owner",
            pa.string(),
            "Whose move it is: app team, backend, console admin, vendor or user.",
        ),
        Column("action", pa.string(), "What the owner does next."),
        Column("source", pa.string(), "Where the meaning is from.", nullable=True),
        Column(
            "resolved_by",
            pa.string(),
            "code, text (a code of the catalogue that stands in err_info) or nothing.",
        ),
    ),
)

KNOWN_CODES = pa.schema(
    [
        *((name, pa.string()) for name in CATALOGUE_COLUMNS),
        ("is_users", pa.bool_()),
    ]
)
"""The catalogue, ours and the user's, as `error_codes` is made from it."""

LAKE_TABLES = (PUSH_LOSS_RESPONSES, PUSH_LOSS_REVISIONS)
PUBLISHED_TABLES = (
    PUSH_LOSS,
    PUSH_LOSS_HISTORY,
    PUSH_LOSS_DAYS,
    PUSH_LOSS_MATURITY,
    APPS,
    PLATFORMS,
    ERROR_CODES,
)
