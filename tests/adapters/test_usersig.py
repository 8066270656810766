"""Signatures are the vendor's, are reused and renewed, and stay unseen."""

import base64
import hashlib
import hmac
import json
import zlib
from dataclasses import replace

from TLSSigAPIv2 import TLSSigAPIv2

from pushloss_pipeline.adapters.usersig import UserSigs, _Signed
from pushloss_pipeline.domain.model import App

PUBLISHED_KEY = "5bd2850fff3ecb11d7c805251c51ee463a25727bddc2385f3fa8bfee1bb93b5e"
PUBLISHED_TIME = 1741708800
PUBLISHED_SIGNATURE = "7Zf30VOlYW89yijhGwX3S92YTeuwpnkhC/1U3iEVgaY="

SHOP = App(
    name="shop",
    sdk_app_id=1400000000,
    base_url="https://adminapisgp.im.qcloud.com",
    identifier="administrator",
    secret_key=PUBLISHED_KEY,
)


class Clock:
    """A clock that stands until it is set."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        """Seconds of the epoch."""
        return self.now


def unpacked(signature: str) -> dict[str, str | int]:
    """Undo the wrapping of a UserSig: base64 in another alphabet, zlib, JSON."""
    text = signature.replace("*", "+").replace("-", "/").replace("_", "=")
    fields: dict[str, str | int] = json.loads(zlib.decompress(base64.b64decode(text)))
    return fields


def expected_signature(fields: dict[str, str | int], key: str) -> str:
    """Compute `TLS.sig` from the vendor's description alone."""
    names = ("TLS.identifier", "TLS.sdkappid", "TLS.time", "TLS.expire")
    text = "".join(f"{name}:{fields[name]}\n" for name in names)
    digest = hmac.new(key.encode(), text.encode(), hashlib.sha256).digest()
    return base64.b64encode(digest).decode()


def test_vector() -> None:
    """The tests' own reckoning gives the published signature."""
    fields: dict[str, str | int] = {
        "TLS.identifier": "administrator",
        "TLS.sdkappid": 1400000000,
        "TLS.time": PUBLISHED_TIME,
        "TLS.expire": 86400,
    }

    assert expected_signature(fields, PUBLISHED_KEY) == PUBLISHED_SIGNATURE


def test_vector_by_the_package() -> None:
    """The package that signs gives the published signature at the published time."""
    signer = TLSSigAPIv2(SHOP.sdk_app_id, SHOP.secret_key)

    signature = signer._TLSSigAPIv2__hmacsha256("administrator", PUBLISHED_TIME, 86400)

    assert signature == PUBLISHED_SIGNATURE.encode()


def test_current_is_valid() -> None:
    """A signature names the app and admin, lasts a day, and its HMAC is right."""
    fields = unpacked(UserSigs().current(SHOP))

    assert fields["TLS.ver"] == "2.0"
    assert fields["TLS.identifier"] == "administrator"
    assert fields["TLS.sdkappid"] == 1400000000
    assert fields["TLS.expire"] == 86400
    assert fields["TLS.sig"] == expected_signature(fields, PUBLISHED_KEY)


def test_key_is_stripped() -> None:
    """A line end after the key, as files have it, does not spoil the signature."""
    app = replace(SHOP, secret_key=f" {PUBLISHED_KEY}\n")

    fields = unpacked(UserSigs().current(app))

    assert fields["TLS.sig"] == expected_signature(fields, PUBLISHED_KEY)


def test_current_is_reused_and_renewed_in_time() -> None:
    """A signature serves for 23 hours, and is renewed an hour before its end."""
    clock = Clock()
    usersigs = UserSigs(clock=clock)
    reused, renewed = [], []

    usersigs._signed[SHOP] = _Signed("first", clock.now + 23 * 3600)
    for seconds in (0, 3600, 23 * 3600 - 1):
        clock.now = 1_000_000 + seconds
        reused.append(usersigs.current(SHOP))
    clock.now += 1
    renewed.append(usersigs.current(SHOP))

    assert reused == ["first"] * 3
    assert unpacked(renewed[0])["TLS.sdkappid"] == SHOP.sdk_app_id


def test_apps_have_their_own() -> None:
    """Each app is signed for by its own id and key."""
    other = replace(SHOP, name="news", sdk_app_id=1400000002, secret_key="other")
    usersigs = UserSigs()

    ids = [unpacked(usersigs.current(app))["TLS.sdkappid"] for app in (SHOP, other)]

    assert ids == [1400000000, 1400000002]


def test_renew_forgets_the_spent_one() -> None:
    """A refused signature is replaced."""
    usersigs = UserSigs(clock=Clock())
    usersigs._signed[SHOP] = _Signed("spent", 2_000_000)

    renewed = usersigs.renew(SHOP, spent="spent")

    assert renewed != "spent"
    assert usersigs.current(SHOP) == renewed


def test_renew_keeps_a_newer_one() -> None:
    """Many calls refused at once renew once: the first to come signs for all."""
    usersigs = UserSigs(clock=Clock())
    usersigs._signed[SHOP] = _Signed("newer", 2_000_000)

    assert usersigs.renew(SHOP, spent="spent") == "newer"


def test_repr_is_masked() -> None:
    """Neither signature nor key shows where the objects are printed."""
    usersigs = UserSigs()
    signature = usersigs.current(SHOP)

    shown = f"{usersigs!r} {usersigs._signed!r} {SHOP!r}"

    assert signature not in shown
    assert PUBLISHED_KEY not in shown
