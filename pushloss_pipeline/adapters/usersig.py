"""UserSigs: made by the vendor's package, reused while good, struck from any text."""

import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import lru_cache

from TLSSigAPIv2 import TLSSigAPIv2

from pushloss_pipeline.domain.model import App

LIFETIME_SECONDS = 24 * 3600
RENEW_AHEAD_SECONDS = 3600
MASK = "***"


@dataclass(frozen=True, slots=True)
class _Signed:
    text: str = field(repr=False)
    renew_at: float


class UserSigs:
    """The current signature of each app; none is ever shown or stored elsewhere."""

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._signed: dict[App, _Signed] = {}

    def __repr__(self) -> str:
        return f"UserSigs(apps={len(self._signed)})"

    def current(self, app: App) -> str:
        """Return a signature that is good for at least another hour."""
        signed = self._signed.get(app)
        if signed is None or self._clock() >= signed.renew_at:
            signed = self._sign(app)
        return signed.text

    def renew(self, app: App, *, spent: str) -> str:
        """Sign anew after the API refused `spent`, unless someone has done so since."""
        signed = self._signed.get(app)
        if signed is not None and signed.text == spent:
            del self._signed[app]
        return self.current(app)

    def _sign(self, app: App) -> _Signed:
        signed = _Signed(
            text=_usersig(app),
            renew_at=self._clock() + LIFETIME_SECONDS - RENEW_AHEAD_SECONDS,
        )
        self._signed[app] = signed
        return signed


def _usersig(app: App) -> str:
    """Sign with the vendor's package, which takes what it gets at its word.

    An id that is not a plain int, a float of seconds or a line end after the key
    give a signature that looks good and is refused.
    """
    signer = TLSSigAPIv2(int(app.sdk_app_id), app.secret_key.strip())
    return str(signer.gen_sig(app.identifier, int(LIFETIME_SECONDS)))


def struck_out(text: bytes, *, secrets: Iterable[str]) -> bytes:
    """Return `text` with each secret masked, plain, percent-encoded or JSON-escaped."""
    for secret in filter(None, map(str.strip, secrets)):
        text = _any_spelling(secret).sub(MASK.encode(), text)
    return text


@lru_cache(maxsize=4096)  # compiling costs more than a load's other work
def _any_spelling(secret: str) -> re.Pattern[bytes]:
    return re.compile(b"".join(map(_any_spelling_of_byte, secret.encode())))


def _any_spelling_of_byte(byte: int) -> bytes:
    """Match one byte of a secret; `%2A` may be encoded again on its way: `%252A`."""
    plain = re.escape(bytes([byte]))
    return rb"(?:%s|(?i:%%(?:25)*%02x|\\u00%02x))" % (plain, byte, byte)
