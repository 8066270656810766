"""What a person does next about a day that is not done, or an app that is refused."""

from datetime import date

from pushloss_pipeline.domain.codes import Reaction, reaction_to
from pushloss_pipeline.domain.verdict import DONE, State

_BY_CODE = {
    60010: "add this machine's address to the app's IP allow list in the console",
    60020: "check the app's plan in the console",
    60026: "check region or endpoint: the app lives in another data centre",
    70009: "the secret key belongs to another app; check its variable",
    70013: "check identifier: the signature names another one",
    70014: "check sdk_app_id: the signature names another one",
    70020: "check sdk_app_id and region: the API does not know this app",
    90009: "identifier must be an app admin; check it in the console",
    90045: "switch the Push service on for this app in the console",
    90103: "identifier is not a user of this app; check it",
}
_BY_REACTION = {
    Reaction.RETRY: "the API or the network is in trouble",
    Reaction.RETRY_BRIEFLY: "read its text",
    Reaction.SLOW_DOWN: "something else calls this API too",
    Reaction.STOP_UNTIL_TOMORROW: "the daily cap is used up; ask again tomorrow",
    Reaction.SIGN_ANEW: "check the secret key, sdk_app_id and this machine's clock",
    Reaction.SIGN_ANEW_LATER: "check the secret key: too many bad signatures were sent",
    Reaction.CONFIGURATION: "check key, sdk_app_id, identifier and region of the app",
    Reaction.REFUSED: "outside what the API answers, or our mistake; report it",
    Reaction.PERMISSION: "someone must act in the console: IP list, plan, Push service",
    Reaction.UNKNOWN: "look the code up in the vendor's list of error codes",
}


_MAY_PASS = frozenset({Reaction.RETRY, Reaction.RETRY_BRIEFLY, Reaction.SLOW_DOWN})


def what_to_do(
    *, app: str, day: date, state: State | None, error_code: int | None
) -> str:
    """The next step about an app's day; empty where there is nothing to do.

    `state` None means that the day was never asked for; without `error_code` the
    API gave none.
    """
    match state:
        case None:
            return f"run `pushloss load {day} {day} --app {app}`"
        case State.HELD:
            return f"truly no loss that day? `pushloss accept {day} --app {app}`"
        case State.EXPIRED:
            return "nothing can bring it back"
    if state in DONE:
        return ""
    if not error_code and state is State.REFUSED:
        return "report it to the vendor; what was kept of it is in push_loss_responses"
    reaction = reaction_to(200, error_code) if error_code else Reaction.RETRY
    advice = _BY_CODE.get(error_code or 0) or _BY_REACTION[reaction]
    if reaction in _MAY_PASS:
        return f"{advice}; ask again: `pushloss load {day} {day} --app {app}`"
    return advice
