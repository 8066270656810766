"""UserSigs: made by the vendor's package, reused while good, never shown."""

import base64
import json
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field

from TLSSigAPIv2 import TLSSigAPIv2

from pushloss_pipeline.adapters.masking import learn
from pushloss_pipeline.domain.model import App

LIFETIME_SECONDS = 24 * 3600
RENEW_AHEAD_SECONDS = 3600


@dataclass(frozen=True, slots=True)
class _Signed:
    text: str = field(repr=False)
    renew_at: float


class UserSigs:
    """The current signature of each app; none is ever shown or stored elsewhere.

    Each is masked in whatever this process says, and so are the key and the HMAC.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.time,
        lifetime_seconds: int = LIFETIME_SECONDS,
    ) -> None:
        self._clock = clock
        self._lifetime_seconds = lifetime_seconds
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

    @property
    def _good_seconds(self) -> float:
        lifetime = self._lifetime_seconds
        return max(lifetime - RENEW_AHEAD_SECONDS, lifetime / 2)

    def _sign(self, app: App) -> _Signed:
        text = _usersig(app, self._lifetime_seconds)
        learn(app.secret_key, text, _hmac_in(text))
        signed = _Signed(
            text=text,
            renew_at=self._clock() + self._good_seconds,
        )
        self._signed[app] = signed
        return signed


def _usersig(app: App, lifetime_seconds: int) -> str:
    """Sign with the vendor's package, which takes what it gets at its word.

    An id that is not a plain int, a float of seconds or a line end after the key
    give a signature that looks good and is refused.
    """
    signer = TLSSigAPIv2(int(app.sdk_app_id), app.secret_key.strip())
    return str(signer.gen_sig(app.identifier, int(lifetime_seconds)))


def _hmac_in(usersig: str) -> str:
    packed = base64.b64decode(usersig.translate(str.maketrans("*-_", "+/=")))
    return str(json.loads(zlib.decompress(packed))["TLS.sig"])
