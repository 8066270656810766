"""The catalogue of push error codes: what a code means and whose move it is."""

import csv
import io
import re
from dataclasses import dataclass, fields
from enum import StrEnum

from pushloss_pipeline.domain.errors import ConfigurationError
from pushloss_pipeline.domain.model import PLATFORM_NAMES, Stage


class Category(StrEnum):
    """What kind of trouble a code tells of."""

    TOKEN_INVALID = "token_invalid"  # noqa: S105 - no password
    APP_CONFIG = "app_config"
    QUOTA_OR_RATE = "quota_or_rate"
    MESSAGE_CONTENT = "message_content"
    DEVICE_STATE = "device_state"
    VENDOR_OUTAGE = "vendor_outage"
    PERMISSION = "permission"
    UNKNOWN = "unknown"


class Owner(StrEnum):
    """Whose move it is."""

    APP_TEAM = "app team"
    BACKEND = "backend"
    CONSOLE_ADMIN = "console admin"
    VENDOR = "vendor"
    USER = "user"


@dataclass(frozen=True, slots=True)
class KnownCode:
    """One row of a catalogue; an empty stage or platform stands for all of them."""

    stage: str
    platform: str
    err_code: str
    meaning: str
    category: str
    owner: str
    action: str
    source: str

    @property
    def row(self) -> dict[str, str]:
        """Its cells by column."""
        return {column: getattr(self, column) for column in COLUMNS}

    @property
    def key(self) -> tuple[str, str, str]:
        """What no other row of the same catalogue may have."""
        return self.stage, self.platform, self.err_code


COLUMNS = tuple(field.name for field in fields(KnownCode))
_REQUIRED = ("err_code", "meaning", "category", "owner", "action")
_ALLOWED: dict[str, tuple[str, ...]] = {
    "stage": ("", *Stage),
    "platform": ("", *PLATFORM_NAMES.values()),
    "category": tuple(Category),
    "owner": tuple(Owner),
}
_NEW_PLATFORM = re.compile(r"platform_\d+")


def read_catalogue(text: str, *, name: str) -> tuple[KnownCode, ...]:
    """Read a catalogue from CSV text; a mistake in it is told by `name` and line."""
    reader = csv.reader(io.StringIO(text.removeprefix("\ufeff")), strict=True)
    codes: dict[tuple[str, str, str], KnownCode] = {}
    try:
        header = next(reader, [])
        if tuple(cell.strip() for cell in header) != COLUMNS:
            raise ConfigurationError(
                f"{name}: the first line must be {','.join(COLUMNS)}"
            )
        for cells in reader:
            if not cells:
                continue
            place = f"{name}, line {reader.line_num}"
            code = _read_row(cells, place)
            if code.key in codes:
                raise ConfigurationError(
                    f"{place}: {' '.join(filter(None, code.key))} stands there twice"
                )
            codes[code.key] = code
    except csv.Error as problem:
        raise ConfigurationError(f"{name}, line {reader.line_num}: {problem}") from None
    return tuple(codes.values())


def _read_row(cells: list[str], place: str) -> KnownCode:
    if len(cells) != len(COLUMNS):
        raise ConfigurationError(
            f"{place}: {len(cells)} cells where {len(COLUMNS)} are needed; "
            'a text with a comma in it stands in "quotes"'
        )
    row = dict(zip(COLUMNS, map(str.strip, cells), strict=True))
    for column in _REQUIRED:
        if not row[column]:
            raise ConfigurationError(f"{place}: {column} is empty")
    for column, allowed in _ALLOWED.items():
        is_new_platform = column == "platform" and _NEW_PLATFORM.fullmatch(row[column])
        if row[column] not in allowed and not is_new_platform:
            raise ConfigurationError(
                f"{place}: {column} {row[column]!r} is none of "
                f"{', '.join(filter(None, allowed))}"
            )
    return KnownCode(**row)
