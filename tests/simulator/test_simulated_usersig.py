"""The simulator's own reading of a UserSig."""

import base64
import time
import zlib
from collections.abc import Callable

import pytest

from pushloss_pipeline.simulator.scenario import SimulatedApp
from pushloss_pipeline.simulator.usersig import Fault, find_fault

Pack = Callable[[dict[str, object]], str]

# Published by the vendor inside its own signer; it signs for nobody.
PUBLISHED_KEY = "5bd2850fff3ecb11d7c805251c51ee463a25727bddc2385f3fa8bfee1bb93b5e"
SIGNED_AT = 1741708800
PUBLISHED_FIELDS: dict[str, object] = {
    "TLS.ver": "2.0",
    "TLS.identifier": "administrator",
    "TLS.sdkappid": 1400000000,
    "TLS.expire": 86400,
    "TLS.time": SIGNED_AT,
    "TLS.sig": "7Zf30VOlYW89yijhGwX3S92YTeuwpnkhC/1U3iEVgaY=",
}


def fault_of(
    usersig: str,
    *,
    sdk_app_id: int = 1400000000,
    identifier: str = "administrator",
    secret_key: str = PUBLISHED_KEY,
    signature_now: float = SIGNED_AT + 10,
) -> Fault | None:
    """Judge a signature as the published vector's app would."""
    return find_fault(
        usersig,
        sdk_app_id=sdk_app_id,
        identifier=identifier,
        secret_key=secret_key,
        signature_now=signature_now,
    )


def code_of(fault: Fault | None) -> int:
    """Return the code of a fault, 0 for none."""
    return fault.error_code if fault else 0


def test_the_published_vector_verifies(pack: Pack) -> None:
    """The signature published with the vendor's signer is good."""
    assert fault_of(pack(PUBLISHED_FIELDS)) is None


def test_the_vendors_signer_is_understood(
    official_usersig: str, shop: SimulatedApp
) -> None:
    """What the vendor's own package signs is good."""
    fault = fault_of(
        official_usersig,
        sdk_app_id=shop.sdk_app_id,
        secret_key=shop.secret_key,
        signature_now=time.time(),
    )

    assert fault is None


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(86400, 0), (86401, 70001)],
    ids=["at its last second", "a second later"],
)
def test_a_signature_expires(pack: Pack, seconds: int, expected: int) -> None:
    """A signature is good up to its last second, then expired."""
    fault = fault_of(pack(PUBLISHED_FIELDS), signature_now=SIGNED_AT + seconds)

    assert expected == code_of(fault)


def test_a_wrong_key_is_told(pack: Pack) -> None:
    """A signature by another key answers 70009."""
    fault = fault_of(pack(PUBLISHED_FIELDS), secret_key="another key")

    assert code_of(fault) == 70009


def test_another_account_is_told(pack: Pack) -> None:
    """A signature of another account answers 70013."""
    assert code_of(fault_of(pack(PUBLISHED_FIELDS), identifier="someone")) == 70013


def test_another_app_is_told(pack: Pack) -> None:
    """A signature of another app answers 70014."""
    assert code_of(fault_of(pack(PUBLISHED_FIELDS), sdk_app_id=1400000001)) == 70014


def test_an_empty_signature_is_told() -> None:
    """A signature of length 0 answers 70002."""
    assert code_of(fault_of("")) == 70002


@pytest.mark.parametrize(
    "changed",
    [
        {"TLS.expire": 86400.0},
        {"TLS.sdkappid": "1400000000"},
        {"TLS.time": True},
        {"TLS.ver": "1.0"},
        {"TLS.sig": None},
        {"TLS.sig": "签名"},
        {"TLS.identifier": 5},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_ill_typed_fields_are_told(pack: Pack, changed: dict[str, object]) -> None:
    """A signature whose fields have the wrong type answers 70005."""
    assert code_of(fault_of(pack({**PUBLISHED_FIELDS, **changed}))) == 70005


@pytest.mark.parametrize("field", list(PUBLISHED_FIELDS))
def test_missing_fields_are_told(pack: Pack, field: str) -> None:
    """A signature that lacks a field answers 70005."""
    fields = {name: PUBLISHED_FIELDS[name] for name in PUBLISHED_FIELDS}
    del fields[field]

    assert code_of(fault_of(pack(fields))) == 70005


def packed(content: bytes) -> str:
    """Pack any content the way a signature is packed."""
    return base64.b64encode(zlib.compress(content)).decode().replace("=", "_")


@pytest.mark.parametrize(
    "usersig",
    [
        "not base64 !",
        "签名",
        base64.b64encode(b"not zlib").decode(),
        packed(b"not json"),
        packed(b"[1, 2]"),
        packed(b"[" * 4000),
        packed(b" " * 10_000_000 + b"{}"),
        packed(b'{"TLS.ver": "2.0"}')[:-8],
    ],
    ids=["base64", "text", "zlib", "json", "list", "nested", "bomb", "cut off"],
)
def test_rubbish_is_told(usersig: str) -> None:
    """What cannot be decoded answers 70003, however large it would inflate."""
    assert code_of(fault_of(usersig)) == 70003
