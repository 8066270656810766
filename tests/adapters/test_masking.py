"""Secrets are struck out by their values, in any spelling, and nothing else is."""

import logging
import traceback

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushloss_pipeline.adapters.masking import (
    MASK,
    discreet,
    is_maskable,
    learn,
    masked,
    masked_bytes,
    masked_error,
)
from pushloss_pipeline.adapters.usersig import UserSigs
from pushloss_pipeline.domain.model import App
from tests.trust.planted import signature_within, spellings

KEY = "5bd2850fff3ecb11d7c805251c51ee463a25727bddc2385f3fa8bfee1bb93b5e"
SHOP = App("shop", 1400000001, "https://a.example", "administrator", KEY)
USERSIG = UserSigs().current(SHOP)
SECRETS = {"key": KEY, "usersig": USERSIG, "TLS.sig": signature_within(USERSIG)}


@pytest.mark.parametrize("secret", SECRETS.values(), ids=SECRETS)
@pytest.mark.parametrize("spelling", spellings(KEY))
def test_struck_out(secret: str, spelling: str) -> None:
    """A secret is struck out in every spelling; what stands beside it stays."""
    echo = spellings(secret)[spelling]

    said = masked_bytes(b'{"ErrorInfo": "usersig=' + echo + b'&random=1 \xe6\x95\xb0"}')

    kept = said.replace(MASK.encode(), b"", 1)
    assert b'{"ErrorInfo": "usersig=' == kept[:23]
    assert b'&random=1 \xe6\x95\xb0"}' == kept[-15:]
    assert len(kept) <= 38 + 5  # of UTF-16 and base64 what is beside it, too


@pytest.mark.parametrize(
    ("piece", "said"),
    [
        (USERSIG[:16], MASK),
        (USERSIG[5:29], MASK),
        (KEY[-24:], MASK),
        (f"{KEY[:20]}\n{KEY[20:]}", f"{MASK}\n{MASK}"),
        (KEY + KEY, MASK + MASK),
        (f"app {KEY}.{USERSIG}!", f"app {MASK}.{MASK}!"),
        (KEY[:12], KEY[:12]),
    ],
    ids=["head", "middle", "tail", "folded", "twice", "two", "too little"],
)
def test_pieces(piece: str, said: str) -> None:
    """Half a secret is one; a few of its characters are none."""
    assert said == masked(piece)


def test_what_is_no_secret_in_part() -> None:
    """An address's part is struck out whole; the words it is made of are data."""
    learn("push-notification-losses-2", only_whole=True)

    assert "push-notification-rejected" == masked("push-notification-rejected")
    assert f"at /{MASK}?a=1" == masked("at /push-notification-losses-2?a=1")


def test_escapes_of_other_letters() -> None:
    """A letter that is two in lower case moves nothing."""
    assert f"&#304;{MASK}" == masked(f"&#304;{KEY}")
    assert f"&#304;{MASK};tail" == masked(f"&#304;{KEY};tail")


def test_signatures_that_begin_alike() -> None:
    """Each of many is struck out whole, though all have the same head."""
    sigs = UserSigs()
    apps = [
        App(f"a{n}", n, "https://a.example", "administrator", KEY) for n in range(9)
    ]
    signatures = [sigs.current(app) for app in apps if app.sdk_app_id]

    assert [MASK] * 8 == [masked(signature) for signature in signatures]


@given(st.binary(max_size=200))
def test_what_is_no_secret_stays(content: bytes) -> None:
    """Data are kept byte for byte."""
    learn(KEY)

    assert content == masked_bytes(content)


@pytest.mark.parametrize(
    "text",
    [
        "0123456789abcdef0123456789abcdef",
        "PlatformPostSendDeliveredLoss",
        "%E6%95%B0%E6%8D%AE \\u6570\\u636e &#25968;&#25454;",
        "https://adminapisgp.im.qcloud.com/v4/timpush/normal_push_loss?sdkappid=1",
        "/data/it's/数据 100%/warehouse.duckdb",
        "",
    ],
)
def test_ordinary_texts_stay(text: str) -> None:
    """Ids, names, escapes and paths are as they were."""
    learn(KEY)

    assert text == masked(text)


def test_what_is_maskable() -> None:
    """Keys are; what may stand in any text is not."""
    assert all(map(is_maskable, [*SECRETS.values(), "5ca1ab1e" * 8]))
    assert not any(
        map(is_maskable, ["", "a" * 64, "short", "two words of it", "密钥" * 9])
    )


def test_a_harmless_error_stays_itself() -> None:
    """Its type decides what is done; its chain stays too."""
    error = ValueError("harmless")
    error.__cause__ = KeyError("harmless too")

    assert masked_error(error) is error


def test_an_error_in_a_circle() -> None:
    """Errors that led to one another come to an end."""
    error, other = ValueError(KEY), KeyError(USERSIG)
    error.__cause__, other.__cause__ = other, error

    text = "".join(traceback.format_exception(masked_error(error)))

    assert KEY not in text and USERSIG not in text and text.count(MASK) == 2


def test_an_error_keeps_its_name_place_and_notes() -> None:
    """Whoever reads it learns all but the secret."""
    with pytest.raises(Exception, match="gone") as caught, discreet():
        _fail()

    text = "".join(traceback.format_exception(caught.value))

    assert "FileNotFoundError: [Errno 2] gone: '***'" in text
    assert "in _fail" in text
    assert "of usersig=***" in text
    assert "ZeroDivisionError" in text


def _fail() -> None:
    try:
        1 / 0  # noqa: B018
    except ZeroDivisionError as first:
        error = FileNotFoundError(2, "gone", KEY)
        error.add_note(f"of usersig={USERSIG}")
        raise error from first


def test_what_is_not_shown_decides_nothing() -> None:
    """An error raised `from None` is what it is."""
    told = ValueError("told")
    told.__context__, told.__suppress_context__ = KeyError(KEY), True

    assert masked_error(told) is told


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> logging.Logger:
    """Any library's logger."""
    caplog.set_level(logging.DEBUG)
    return logging.getLogger("any.library")


def test_records_are_masked(
    log: logging.Logger, caplog: pytest.LogCaptureFixture
) -> None:
    """Message, arguments, error and stack, before any handler has them."""
    learn(KEY)
    log.debug("%s of %s", {"a": [KEY]}, USERSIG)
    log.error("told", exc_info=ValueError(KEY), stack_info=True)
    log.info("%s lines in %d s", "ten", 3)

    assert "{'a': ['***']} of ***" in caplog.text
    assert "ValueError: ***" in caplog.text
    assert caplog.records[-1].args == ("ten", 3)


def test_a_record_that_cannot_be_formatted(
    log: logging.Logger,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What logging says of it quotes no secret either."""
    learn(KEY)
    handler = logging.StreamHandler()
    log.addHandler(handler)
    log.propagate = False
    try:
        log.error("%d", KEY)
    finally:
        log.removeHandler(handler)
        log.propagate = True

    said = capsys.readouterr().err
    assert "Logging error" in said and MASK in said and KEY not in said
