"""What the pipeline does about each code of the vendor's pages."""

import pytest

from pushloss_pipeline.domain.codes import STOPS_APP, Reaction, reaction_to

# Copied by hand from the vendor's lists of codes, not from `codes.py`.
REACTIONS = {
    0: Reaction.OK,
    60002: Reaction.REFUSED,
    60003: Reaction.REFUSED,
    60004: Reaction.SIGN_ANEW,
    60005: Reaction.SIGN_ANEW,
    60006: Reaction.CONFIGURATION,
    60007: Reaction.SLOW_DOWN,
    60008: Reaction.RETRY,
    60009: Reaction.REFUSED,
    60010: Reaction.PERMISSION,
    60011: Reaction.SLOW_DOWN,
    60012: Reaction.REFUSED,
    60013: Reaction.RETRY,
    60014: Reaction.RETRY,
    60015: Reaction.REFUSED,
    60016: Reaction.PERMISSION,
    60017: Reaction.PERMISSION,
    60018: Reaction.SLOW_DOWN,
    60019: Reaction.SLOW_DOWN,
    60020: Reaction.PERMISSION,
    60021: Reaction.PERMISSION,
    60025: Reaction.REFUSED,
    60026: Reaction.CONFIGURATION,
    60027: Reaction.CONFIGURATION,
    60028: Reaction.STOP_UNTIL_TOMORROW,
    70001: Reaction.SIGN_ANEW,
    70002: Reaction.SIGN_ANEW,
    70003: Reaction.SIGN_ANEW,
    70005: Reaction.SIGN_ANEW,
    70009: Reaction.CONFIGURATION,
    70013: Reaction.CONFIGURATION,
    70014: Reaction.CONFIGURATION,
    70016: Reaction.CONFIGURATION,
    70020: Reaction.CONFIGURATION,
    70050: Reaction.SIGN_ANEW_LATER,
    70051: Reaction.PERMISSION,
    70052: Reaction.SIGN_ANEW,
    70107: Reaction.CONFIGURATION,
    70169: Reaction.RETRY,
    70202: Reaction.RETRY,
    70402: Reaction.REFUSED,
    70403: Reaction.PERMISSION,
    70500: Reaction.RETRY,
    80005: Reaction.PERMISSION,
    90001: Reaction.REFUSED,
    90009: Reaction.PERMISSION,
    90045: Reaction.PERMISSION,
    90100: Reaction.REFUSED,
    90102: Reaction.RETRY,
    90103: Reaction.CONFIGURATION,
    90992: Reaction.RETRY,
    90994: Reaction.RETRY,
    90995: Reaction.RETRY,
    91000: Reaction.RETRY_BRIEFLY,
}


@pytest.mark.parametrize(("code", "reaction"), REACTIONS.items())
def test_codes(code: int, reaction: Reaction) -> None:
    """Each code calls for what the vendor's lists say."""
    assert reaction == reaction_to(200, code)


@pytest.mark.parametrize("code", [1, -1, 60001, 69999, 70012, 91001, 2**40])
def test_unknown_code(code: int) -> None:
    """A code that no list knows fails without a retry."""
    assert Reaction.UNKNOWN == reaction_to(200, code)


@pytest.mark.parametrize(
    "status",
    [
        pytest.param(None, id="no_answer"),
        pytest.param(429, id="too_many_requests"),
        pytest.param(500, id="server_error"),
        pytest.param(502, id="bad_gateway"),
        pytest.param(503, id="unavailable"),
        pytest.param(599, id="last_server_error"),
        pytest.param(200, id="body_without_a_code"),
    ],
)
def test_no_code(status: int | None) -> None:
    """No answer, a server's fault or a body without a code is tried again."""
    assert Reaction.RETRY == reaction_to(status, None)


@pytest.mark.parametrize("status", [429, 502])
def test_ok_body_of_a_server_fault(status: int) -> None:
    """A server's fault is tried again even if its body claims to be OK."""
    assert Reaction.RETRY == reaction_to(status, 0)


@pytest.mark.parametrize("status", [301, 400, 403, 404])
@pytest.mark.parametrize("code", [None, 0, 1])
def test_other_http_status(status: int, code: int | None) -> None:
    """A redirect or a refusal by HTTP fails without a retry."""
    assert Reaction.UNKNOWN == reaction_to(status, code)


@pytest.mark.parametrize("status", [403, 429, 502])
def test_known_code_before_http_status(status: int) -> None:
    """A code the lists know says more than the HTTP status around it."""
    assert Reaction.CONFIGURATION == reaction_to(status, 60026)


def test_unknown_code_of_a_server_fault() -> None:
    """A server's fault is tried again whatever unknown code comes with it."""
    assert Reaction.RETRY == reaction_to(502, 12345)


def test_what_stops_an_app() -> None:
    """Only what another day would meet again stops the app's other days."""
    assert {
        Reaction.STOP_UNTIL_TOMORROW,
        Reaction.SIGN_ANEW,
        Reaction.SIGN_ANEW_LATER,
        Reaction.CONFIGURATION,
        Reaction.PERMISSION,
    } == STOPS_APP
