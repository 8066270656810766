"""The configuration: `pushloss.toml` and the environment, read here and only here."""

import difflib
import os
import re
import tomllib
from collections.abc import Iterable, Iterator
from datetime import date, time
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import unquote, urlsplit
from zoneinfo import ZoneInfo

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from pushloss_pipeline.adapters.masking import is_maskable, learn, masked
from pushloss_pipeline.domain.catalogue import KnownCode, read_catalogue
from pushloss_pipeline.domain.errors import ConfigurationError, UsageError
from pushloss_pipeline.domain.model import App

CONFIG_VARIABLE = "PUSHLOSS_CONFIG"
DATA_DIR_VARIABLE = "PUSHLOSS_DATA_DIR"
DEFAULT_CONFIG = Path("pushloss.toml")
OWN_CODES = "error_codes.csv"

REGION_HOSTS = {
    "china": "console.tim.qq.com",
    "singapore": "adminapisgp.im.qcloud.com",
    "seoul": "adminapikr.im.qcloud.com",
    "frankfurt": "adminapiger.im.qcloud.com",
    "silicon_valley": "adminapiusa.im.qcloud.com",
    "jakarta": "adminapiidn.im.qcloud.com",
    "tokyo": "adminapijpn.im.qcloud.com",
    "mumbai": "adminapiind.im.qcloud.com",
}
"""Source: the vendor's page; Tokyo and Mumbai from its REST introduction."""

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_APP_NAME = re.compile(r"\w[\w.-]{0,63}")
_VARIABLE = r"^[A-Za-z_][A-Za-z0-9_]*$"
_LIKE_A_SECRET = re.compile(r"[0-9A-Fa-f]{40,}|eJ[\w*-]{60,}")
"""A key of the console, which gives 64 digits, or a signature."""
_LIKE_NO_VARIABLE = re.compile(r"[0-9A-Fa-f]{16,}|(?=(?:.*\d){6})[^_]{32,}")
_LONGEST_QUOTED = 24
_LONG_WORD = re.compile(r"[^\s'\",()]{16,}")
_SECRETIVE = ("secret", "key", "sig", "token", "password")
_OBJECT_STORE_SECRETS = ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
_HOST = re.compile(r"(://(?:[^/?#]*@)?)[\w-]+(?:\.[\w-]+)+")
_NOT_HERE = (
    "write the name of a variable that holds it (secret_key_env, alarm_url_env), and"
    " draw a new one if others could read it"
)


def _zone(name: Any) -> Any:
    if not isinstance(name, str):
        return name
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ValueError(
            f"no time zone is called {_quoted(name)}; use an IANA name such as"
            " Asia/Shanghai"
        ) from None


def _local_time(text: Any) -> Any:
    if isinstance(text, str) and not re.fullmatch(r"[0-2]\d:[0-5]\d", text):
        raise ValueError(f"{_quoted(text)} is not a time of day such as 10:30")
    return text


def _quoted(text: str) -> str:
    """What was written, as a hint; not what may be a key in the wrong place."""
    return repr(text) if len(text) <= _LONGEST_QUOTED else "what is written here"


class AppSettings(BaseModel):
    """`[apps.NAME]`: one application to ask for."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    sdk_app_id: Annotated[int, Field(gt=0, lt=2**63, strict=True)]
    region: str | None = None
    endpoint: str | None = None
    identifier: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,32}$")]
    secret_key_env: Annotated[str, Field(pattern=_VARIABLE)]

    @field_validator("region")
    @classmethod
    def _known_region(cls, region: str | None) -> str | None:
        if region is not None and region not in REGION_HOSTS:
            raise ValueError(
                f"unknown region {_quoted(region)}; one of {', '.join(REGION_HOSTS)},"
                " or give endpoint instead"
            )
        return region

    @field_validator("endpoint")
    @classmethod
    def _safe_endpoint(cls, endpoint: str | None) -> str | None:
        if endpoint is None:
            return None
        parts = urlsplit(endpoint)
        if not parts.hostname or parts.path.strip("/") or parts.query:
            raise ValueError("endpoint is scheme and host only: https://host")
        if parts.username or parts.password:
            raise ValueError("endpoint holds no user and no password")
        is_loopback = parts.hostname in _LOOPBACK
        if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback):
            raise ValueError("endpoint must be https (http only on loopback)")
        return endpoint.rstrip("/")

    @field_validator("secret_key_env")
    @classmethod
    def _name_of_a_variable(cls, name: str) -> str:
        if _LIKE_NO_VARIABLE.fullmatch(name):
            raise ValueError(
                "write the name of the variable that holds the key, not the key"
            )
        return name

    @model_validator(mode="after")
    def _one_host(self) -> "AppSettings":
        if (self.region is None) == (self.endpoint is None):
            raise ValueError("give either region or endpoint")
        return self

    @property
    def base_url(self) -> str:
        """Scheme and host to call."""
        if self.endpoint is not None:
            return self.endpoint
        return f"https://{REGION_HOSTS[self.region or '']}"


class Settings(BaseSettings):
    """The whole configuration; `PUSHLOSS_DATA_DIR` overrides `data_dir`."""

    model_config = SettingsConfigDict(
        extra="forbid", frozen=True, hide_input_in_errors=True
    )

    timezone: Annotated[ZoneInfo, BeforeValidator(_zone)] = ZoneInfo("Asia/Shanghai")
    data_dir: str = "data"
    retention_days: Annotated[int, Field(ge=1, le=366)] = 7
    calls_per_second: Annotated[float, Field(gt=0, le=10_000)] = 1.0
    start_date: Annotated[date, Field(ge=date(2000, 1, 1), lt=date(3000, 1, 1))]
    schedule_time: Annotated[time, BeforeValidator(_local_time)] = time(10, 30)
    alarm_url_env: Annotated[str, Field(pattern=_VARIABLE)] | None = None
    report_url: str | None = None
    apps: Annotated[dict[str, AppSettings], Field(min_length=1)]

    config_path: Annotated[Path, Field(exclude=True)] = DEFAULT_CONFIG

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments before file; no variable but the documented two is looked at."""
        path = init_settings()["config_path"]
        return init_settings, TomlConfigSettingsSource(settings_cls, toml_file=path)

    @field_validator("data_dir")
    @classmethod
    def _possible_folder(cls, folder: str) -> str:
        if "\0" in folder:
            raise ValueError("no folder has a NUL character in its name")
        return folder

    @model_validator(mode="before")
    @classmethod
    def _no_secrets(cls, data: Any) -> Any:
        for place, text in _texts(data):
            if _LIKE_A_SECRET.fullmatch(text):
                raise ValueError(f"{_in_one(place)} looks like a secret: {_NOT_HERE}")
        return data

    @field_validator("apps")
    @classmethod
    def _sane_apps(cls, apps: dict[str, AppSettings]) -> dict[str, AppSettings]:
        for name in apps:
            if not _APP_NAME.fullmatch(name):
                raise ValueError(
                    f"app name {_quoted(name)}: letters, digits, `_`, `-` and `.` only,"
                    " 64 at most"
                )
        ids = [app.sdk_app_id for app in apps.values()]
        if twice := next((i for i in ids if ids.count(i) > 1), None):
            raise ValueError(f"sdk_app_id {twice} is configured twice")
        return apps

    @field_validator("data_dir")
    @classmethod
    def _no_credentials(cls, folder: str) -> str:
        parts = urlsplit(folder) if "://" in folder else urlsplit("")
        if parts.username or parts.password or parts.query:
            raise ValueError(
                "data_dir is s3://bucket/prefix only; credentials come from the"
                " environment"
            )
        return folder

    @field_validator("report_url")
    @classmethod
    def _open_address(cls, url: str | None) -> str | None:
        if url is None:
            return None
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https", "file"):
            raise ValueError("report_url begins with https://, http:// or file://")
        if parts.username or parts.password or parts.query:
            raise ValueError(
                "report_url is in every alarm: no user, no password, nothing secret"
            )
        return url

    @property
    def is_remote(self) -> bool:
        """The lake is in an object store."""
        return "://" in self.data_dir

    @property
    def local_dir(self) -> Path:
        """Where the published file, locks and pacing live; always on this machine."""
        beside = self.config_path.parent
        return beside / "data" if self.is_remote else beside / self.data_dir

    @property
    def lake_root(self) -> str:
        """Folder or URL that holds the two Delta tables."""
        if self.is_remote:
            return f"{self.data_dir.rstrip('/')}/lake"
        return str(self.local_dir / "lake")

    @property
    def own_codes_path(self) -> Path:
        """Where the user's rows of the error-code catalogue are, if there are any."""
        return self.config_path.parent / OWN_CODES

    def own_codes(self) -> tuple[KnownCode, ...]:
        """The user's rows of the catalogue; a mistake is a `ConfigurationError`.

        Read when they are published: a slip in them must keep no day from being asked.
        """
        path = self.own_codes_path
        if not path.is_file():
            return ()
        try:
            return read_catalogue(path.read_text(encoding="utf-8"), name=str(path))
        except UnicodeDecodeError:
            raise ConfigurationError(
                f"{path} is not UTF-8 text; save it as CSV in UTF-8"
            ) from None
        except OSError as problem:
            raise ConfigurationError(
                f"cannot read {path}: {problem.strerror}"
            ) from None

    def alarm_urls(self) -> tuple[str, ...]:
        """The apprise URLs of the environment; none: nobody is told of anything."""
        if self.alarm_url_env is None:
            return ()
        urls = tuple(os.environ.get(self.alarm_url_env, "").split())
        for url in urls:
            learn(*_tokens_in(url), only_whole=True)
        return urls

    def select(self, names: tuple[str, ...] = ()) -> tuple[str, ...]:
        """These apps, or all; an unknown name is a `UsageError` with a suggestion."""
        for name in names:
            if name not in self.apps:
                close = difflib.get_close_matches(name, self.apps, n=1)
                hint = f"; did you mean {close[0]}?" if close else "."
                raise UsageError(
                    f"no app is called {name!r}{hint} Configured in"
                    f" {self.config_path}: {', '.join(self.apps)}"
                )
        return tuple(dict.fromkeys(names)) or tuple(self.apps)

    def app(self, name: str) -> App:
        """The app with its key from the environment, ready to sign."""
        configured = self.apps[name]
        key = os.environ.get(configured.secret_key_env, "").strip()
        if not key:
            raise ConfigurationError(
                f"app {name}: the variable {configured.secret_key_env} is not set; "
                f"export it with the secret key of SDKAppID {configured.sdk_app_id} "
                "(Chat console, Basic Configuration)"
            )
        if not is_maskable(key):
            raise ConfigurationError(
                f"app {name}: the variable {configured.secret_key_env} holds no secret "
                f"key; export it with the one of SDKAppID {configured.sdk_app_id}, 64 "
                "hexadecimal digits (Chat console, Basic Configuration)"
            )
        learn(key)
        return App(
            name=name,
            sdk_app_id=configured.sdk_app_id,
            base_url=configured.base_url,
            identifier=configured.identifier,
            secret_key=key,
        )


def read_settings(path: Path | None = None) -> Settings:
    """Read the configuration; whatever is wrong with it is a `ConfigurationError`.

    Without `path`: the file that `PUSHLOSS_CONFIG` names, or `pushloss.toml` in
    the current folder.
    """
    path = path or Path(os.environ.get(CONFIG_VARIABLE) or DEFAULT_CONFIG)
    path = path.absolute()
    if not path.is_file():
        raise ConfigurationError(
            f"no configuration at {path}; copy pushloss.example.toml to "
            f"pushloss.toml, or name another file in {CONFIG_VARIABLE}"
        )
    try:
        settings = Settings(config_path=path, **_overrides())
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise ConfigurationError(f"{path} is not UTF-8 text") from None
    except OSError as problem:
        raise ConfigurationError(f"cannot read {path}: {problem.strerror}") from None
    except ValidationError as problem:
        raise ConfigurationError(_in_words(path, problem)) from None
    except (ValueError, RecursionError) as problem:
        # Of tomllib, also of numbers too long for Python and brackets too deep for it.
        what = _LONG_WORD.sub("…", str(problem))
        raise ConfigurationError(f"{path} is not valid TOML: {what}") from None
    _learn_secrets(settings)
    _refuse_keys_in(text, settings)
    return settings


def _learn_secrets(settings: Settings) -> None:
    """Mask them before anything is done that may tell them."""
    for app in settings.apps.values():
        learn(os.environ.get(app.secret_key_env, ""))
    settings.alarm_urls()
    for name in _OBJECT_STORE_SECRETS:
        learn(os.environ.get(name, ""))


def _refuse_keys_in(text: str, settings: Settings) -> None:
    """Comments are looked at, and what escapes stand for."""
    values = [value for _, value in _texts(tomllib.loads(text))]
    written = "\n".join([text, *values]).lower()
    for name, app in settings.apps.items():
        key = os.environ.get(app.secret_key_env, "").strip()
        if is_maskable(key) and key.lower() in written:
            raise ConfigurationError(
                f"{settings.config_path}: the key of app {name}, which the variable"
                f" {app.secret_key_env} holds, is written here too: {_NOT_HERE}"
            )


def _tokens_in(url: str) -> list[str]:
    """What an alarm URL may hold of secrets: all its parts but its host."""
    without_host = _HOST.sub(r"\1", unquote(url))
    return [p for p in re.split(r"[:/?&=@,]+", without_host) if re.search(r"\d", p)]


def _texts(value: Any, *place: str) -> Iterator[tuple[tuple[str, ...], str]]:
    """Each name and each text that is written in the file, and where."""
    match value:
        case str():
            yield place, value
        case dict():
            for name, inner in value.items():
                yield (*place, name), name
                yield from _texts(inner, *place, name)
        case list():
            for inner in value:
                yield from _texts(inner, *place)


def _in_one(place: Iterable[object]) -> str:
    """Where it is, by names of which none is a secret itself."""
    names = map(str, place)
    return ".".join("…" if _LIKE_A_SECRET.fullmatch(n) else masked(n) for n in names)


def _overrides() -> dict[str, Any]:
    """A relative folder in the file is beside the file, in a variable below here."""
    data_dir = os.environ.get(DATA_DIR_VARIABLE)
    if not data_dir:
        return {}
    return {"data_dir": data_dir if "://" in data_dir else os.path.abspath(data_dir)}


def _in_words(path: Path, problem: ValidationError) -> str:
    """One line per mistake; never the values, which may hold a secret."""
    lines = []
    for error in problem.errors(include_input=False, include_url=False):
        place = _in_one(error["loc"]) or "the file"
        lines.append(f"{path}: {place}: {_mistake(error)}")
    return "\n".join(lines)


def _mistake(error: Any) -> str:
    if error["type"] == "extra_forbidden":
        return _unknown_key(str(error["loc"][-1]), is_app=len(error["loc"]) > 1)
    if error["type"] == "missing":
        return "is missing"
    return str(error["msg"]).removeprefix("Value error, ")


def _unknown_key(key: str, *, is_app: bool) -> str:
    if any(word in key.lower() for word in _SECRETIVE):
        return f"a secret does not belong in the file: {_NOT_HERE}"
    if not is_app and key.startswith("alarm_url"):
        return (
            "an alarm URL holds tokens and does not belong in the file; write "
            "alarm_url_env with the name of the variable that holds it"
        )
    known = AppSettings.model_fields if is_app else Settings.model_fields
    close = difflib.get_close_matches(key, known, n=1)
    return f"unknown key; did you mean {close[0]}?" if close else "unknown key"
