"""Verification of a UserSig, from the vendor's description alone."""

import base64
import binascii
import hashlib
import hmac
import json
import zlib
from dataclasses import dataclass, field
from typing import NamedTuple

_LONGEST_INFLATED = 4096
_FROM_URL = str.maketrans("*-_", "+/=")


class Fault(NamedTuple):
    """Why a call is refused, in the API's own terms."""

    error_code: int
    error_info: str


@dataclass(frozen=True, slots=True)
class _SignedClaims:
    identifier: str
    sdk_app_id: int
    time: int
    expire: int
    sig: str = field(repr=False)


def find_fault(
    usersig: str,
    *,
    sdk_app_id: int,
    identifier: str,
    secret_key: str,
    signature_now: float,
) -> Fault | None:
    """Say what is wrong with a UserSig; None where it is good.

    Codes 70001, 70002, 70003, 70005, 70009, 70013 and 70014 are the vendor's; which one
    answers a signature with several faults is assumed: the first met in this order.
    """
    if not usersig:
        return Fault(70002, "the length of UserSig is 0")
    fields = _decoded(usersig)
    if fields is None:
        return Fault(70003, "UserSig verification failed: it cannot be decoded")
    claims = _claims_of(fields)
    if claims is None:
        return Fault(70005, "illegal UserSig: fields are missing or ill-typed")
    if claims.identifier != identifier:
        return Fault(70013, "UserID of the request differs from that of the UserSig")
    if claims.sdk_app_id != sdk_app_id:
        return Fault(70014, "SDKAppID of the request differs from that of the UserSig")
    if not hmac.compare_digest(claims.sig, _signature_of(claims, secret_key)):
        return Fault(70009, "failed to verify UserSig: the key is not this SDKAppID's")
    if signature_now > claims.time + claims.expire:
        return Fault(70001, "UserSig is expired")
    return None


def _signature_of(claims: _SignedClaims, secret_key: str) -> str:
    signed_text = (
        f"TLS.identifier:{claims.identifier}\n"
        f"TLS.sdkappid:{claims.sdk_app_id}\n"
        f"TLS.time:{claims.time}\n"
        f"TLS.expire:{claims.expire}\n"
    )
    digest = hmac.new(secret_key.encode(), signed_text.encode(), hashlib.sha256)
    return base64.b64encode(digest.digest()).decode()


def _decoded(usersig: str) -> dict[str, object] | None:
    try:
        packed = base64.b64decode(usersig.translate(_FROM_URL), validate=True)
        inflater = zlib.decompressobj()
        text = inflater.decompress(packed, _LONGEST_INFLATED)
        fields = json.loads(text)
    except (binascii.Error, zlib.error, ValueError, RecursionError):
        return None
    # A longer one is a bomb or rubbish; a cut-off one never reaches its end.
    if not inflater.eof or not isinstance(fields, dict):
        return None
    return fields


def _claims_of(fields: dict[str, object]) -> _SignedClaims | None:
    identifier, sig = fields.get("TLS.identifier"), fields.get("TLS.sig")
    numbers = [fields.get(f"TLS.{name}") for name in ("sdkappid", "time", "expire")]
    if fields.get("TLS.ver") != "2.0":
        return None
    if not isinstance(identifier, str) or not isinstance(sig, str):
        return None
    # Not isinstance: a bool is an int, and the vendor refuses a float expire.
    sdk_app_id, time, expire = (n if type(n) is int else None for n in numbers)
    if sdk_app_id is None or time is None or expire is None or not sig.isascii():
        return None
    return _SignedClaims(identifier, sdk_app_id, time, expire, sig)
