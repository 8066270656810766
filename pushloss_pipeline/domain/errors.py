"""Errors, named for what the one who meets them does next.

::

    PushLossError
    ├── ConfigurationError   mend pushloss.toml or the environment, run again
    ├── UsageError           ask for something else: another day, another app
    ├── BadPayload           the answer is kept; read it, report it to the vendor
    └── StoreError           mend the disk or the folder, run again

What the network and the API do wrong is no exception: it is an `Answer` like
any other, recorded first and judged afterwards (`domain/verdict.py`).
"""


class PushLossError(Exception):
    """Root of all errors that this package raises on purpose."""


class ConfigurationError(PushLossError):
    """The configuration or the environment is wrong; nothing was asked."""


class UsageError(PushLossError):
    """The request makes no sense: an unknown app, a day that is not over."""


class BadPayload(PushLossError):
    """An answer that cannot be read as a loss report.

    `place` says where in the body: a line and column of the text, or a path
    such as `$.ReadyToSendLoss[3].ErrCount`.
    """

    def __init__(self, problem: str, *, place: str) -> None:
        super().__init__(f"{problem} (at {place})")
        self.problem = problem
        self.place = place


class StoreError(PushLossError):
    """The record or the published file cannot be read or written."""
