"""Where alarms go: apprise, to Slack, WeCom, DingTalk, Feishu, mail, a webhook …

Such addresses hold tokens. apprise and urllib3 would log them, so both are silent.
"""

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from pushloss_pipeline.domain.alarm_texts import Message
from pushloss_pipeline.domain.errors import ConfigurationError

if TYPE_CHECKING:
    from apprise import NotifyBase

MESSAGE_SECONDS = 14.0
"""How long one message may take: apprise waits 5.5 s after the one before, then 4 s
to connect and 4 s for an answer."""
LOOK_SECONDS = 20.0
"""Of which each service has its share; after it no further message is begun. Dagster
gives a sensor 60 s, and what it forgets then would be told twice."""
_TALKATIVE = ("apprise", "urllib3", "requests", "smtplib", "slixmpp", "paho")


class AlarmChannel:
    """The services behind some apprise URLs, each with a name that holds no secret."""

    def __init__(self, services: Sequence["NotifyBase"]) -> None:
        seen: Counter[str] = Counter()
        self._services: dict[str, NotifyBase] = {}
        for service in services:
            # Not the display name: that one is translated.
            kind = type(service).__name__.removeprefix("Notify").lower()
            seen[kind] += 1
            name = kind if seen[kind] == 1 else f"{kind} {seen[kind]}"
            self._services[name] = service

    @property
    def services(self) -> tuple[str, ...]:
        """Names to address them by: slack, slack 2, email."""
        return tuple(self._services)

    def send(
        self,
        service: str,
        messages: Iterable[Message],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> list[Message]:
        """Send them one after the other; those that arrived. Never raises."""
        deadline = clock() + LOOK_SECONDS / len(self._services)
        arrived = []
        for message in messages:
            if clock() >= deadline:
                break
            if self._deliver(service, message):
                arrived.append(message)
        return arrived

    def _deliver(self, service: str, message: Message) -> bool:
        from apprise import Apprise, NotifyFormat, NotifyType

        sent = Apprise(self._services[service]).notify(
            title=message.title,
            body=message.body,
            notify_type=NotifyType.FAILURE
            if message.is_failure
            else NotifyType.WARNING,
            body_format=NotifyFormat.TEXT,
            timeout=MESSAGE_SECONDS,
        )
        return bool(sent)


def open_channel(urls: Sequence[str], *, variable: str) -> AlarmChannel:
    """The channel behind these URLs; one that cannot be read is told by its place.

    `variable` is where the URLs come from: their text is in no message.
    """
    from apprise import Apprise

    _silence()
    services = []
    for place, url in enumerate(urls, start=1):
        service = Apprise.instantiate(url)
        if service is None:
            which = "its URL" if len(urls) == 1 else f"URL {place} of {len(urls)}"
            raise ConfigurationError(
                f"{variable}: apprise cannot read {which}; it is written like"
                " slack://…, wecombot://…, dingtalk://…, feishu://…, mailtos://… or"
                " json://host/path (see the list of services of apprise)"
            )
        services.append(service)
    return AlarmChannel(services)


def _silence() -> None:
    for name in _TALKATIVE:
        logger = logging.getLogger(name)
        logger.setLevel(logging.CRITICAL + 1)
        logger.propagate = False
