"""What to do about an error of the API: wait, sign anew, stop, call a person.

Source: the vendor's page on this call, its list of common error codes (60000
to 79999), and its REST introduction. A code that none of them knows fails
without a retry and keeps its number and text.
"""

from enum import StrEnum


class Reaction(StrEnum):
    """The next move after an attempt."""

    OK = "ok"
    RETRY = "retry"
    """Back off with jitter, at most 5 tries."""
    RETRY_BRIEFLY = "retry_briefly"
    """Code 91000: at most 3 retries, then its ErrorInfo says what to mend."""
    SLOW_DOWN = "slow_down"
    """Over the frequency limit: back off at least one second."""
    STOP_UNTIL_TOMORROW = "stop_until_tomorrow"
    """The app's daily cap is used up."""
    SIGN_ANEW = "sign_anew"
    """Renew the signature once; again the same means wrong configuration."""
    SIGN_ANEW_LATER = "sign_anew_later"
    """Too many bad signatures: wait 60 s, renew once."""
    CONFIGURATION = "configuration"
    """Key, app, host or admin is wrong."""
    REFUSED = "refused"
    """The request is not one the API answers: our bug, or a day outside retention."""
    PERMISSION = "permission"
    """A person must act in the console: IP list, plan, Push not enabled."""
    UNKNOWN = "unknown"
    """No rule: fail, no retry."""


_CODES = {
    Reaction.RETRY: (
        60008, 60013, 60014, 70169, 70202, 70500, 90102, 90992, 90994, 90995,
    ),
    Reaction.RETRY_BRIEFLY: (91000,),
    Reaction.SLOW_DOWN: (60007, 60011, 60018, 60019),
    Reaction.STOP_UNTIL_TOMORROW: (60028,),
    Reaction.SIGN_ANEW: (70001, 70052, 70002, 70003, 70005, 60004, 60005),
    Reaction.SIGN_ANEW_LATER: (70050,),
    Reaction.CONFIGURATION: (
        70009, 70013, 70014, 70016, 70020, 60006, 60026, 60027, 70107, 90103,
    ),
    Reaction.REFUSED: (
        60002, 60003, 60009, 60012, 60015, 60025, 70402, 90001, 90100,
    ),
    Reaction.PERMISSION: (
        60010, 70403, 90009, 60016, 60017, 60020, 60021, 70051, 80005, 90045,
    ),
}  # fmt: skip
_REACTIONS = {code: reaction for reaction, codes in _CODES.items() for code in codes}

STOPS_APP = frozenset(
    {
        Reaction.STOP_UNTIL_TOMORROW,
        Reaction.SIGN_ANEW,
        Reaction.SIGN_ANEW_LATER,
        Reaction.CONFIGURATION,
        Reaction.PERMISSION,
    }
)
"""After these, asking the same app for another day would only be refused again."""


def reaction_to(http_status: int | None, error_code: int | None) -> Reaction:
    """The move after an attempt that is not too large and has not expired.

    `http_status` is None where the network failed; `error_code` is None where
    the body holds no code (empty, not JSON, or without the field).
    """
    if error_code is not None and error_code != 0:
        by_code = _REACTIONS.get(error_code, Reaction.UNKNOWN)
        if by_code is not Reaction.UNKNOWN:
            return by_code
    if http_status is None or http_status >= 500 or http_status == 429:
        return Reaction.RETRY
    if not 200 <= http_status < 300:
        return Reaction.UNKNOWN
    if error_code is None:
        return Reaction.RETRY
    return Reaction.OK if error_code == 0 else Reaction.UNKNOWN
