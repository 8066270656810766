"""Messages reach a service; what goes wrong there stays there, and secret."""

import logging
from collections.abc import Iterator

import pytest

from pushloss_pipeline.adapters.alarm_channel import LOOK_SECONDS, open_channel
from pushloss_pipeline.domain.alarm_texts import Message
from pushloss_pipeline.domain.alarms import Kind
from pushloss_pipeline.domain.errors import ConfigurationError
from tests.receiver import Receiver, a_receiver, closed_port

WARNING = Message(Kind.HELD, "[pushloss] a title", "*what*\n→ do <this> 请", ("a",))
FAILURE = Message(Kind.EXPIRED, "[pushloss] lost", "gone", ("b",))


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A webhook that takes what comes."""
    with a_receiver() as receiver:
        yield receiver


def test_a_message_arrives_as_it_is(receiver: Receiver) -> None:
    """Title, text and severity come through, in any script."""
    channel = open_channel([receiver.url], variable="V")

    assert channel.send("json", [WARNING, FAILURE]) == [WARNING, FAILURE]
    assert [(p["title"], p["message"], p["type"]) for p in receiver.taken()] == [
        (WARNING.title, WARNING.body, "warning"),
        (FAILURE.title, FAILURE.body, "failure"),
    ]


def test_services_have_names_without_addresses(receiver: Receiver) -> None:
    """Several of a kind are numbered."""
    channel = open_channel([receiver.url, receiver.url], variable="V")

    assert channel.services == ("json", "json 2")


@pytest.mark.parametrize("trouble", ["error", "hanging", "closed"])
def test_a_broken_service_is_only_told(receiver: Receiver, trouble: str) -> None:
    """What did not arrive is not among what arrived; nothing is raised."""
    receiver.status = 500
    receiver.is_hanging = trouble == "hanging"
    if trouble == "closed":
        receiver.port = closed_port()

    assert open_channel([receiver.url], variable="V").send("json", [WARNING]) == []


def test_a_slow_service_is_left_in_time(receiver: Receiver) -> None:
    """When its time is used up, the other messages wait for the next time."""
    moments = iter([0.0, 0.0, LOOK_SECONDS])
    channel = open_channel([receiver.url], variable="V")
    sent = channel.send("json", [WARNING, FAILURE], clock=lambda: next(moments))

    assert sent == [WARNING]


@pytest.mark.parametrize("url", ["5ca1ab1e", "nothing://5ca1ab1e", "slack://5ca1ab1e"])
def test_a_url_that_cannot_be_read_is_not_repeated(url: str) -> None:
    """The message names the variable and the place, never the text."""
    with pytest.raises(
        ConfigurationError, match="V: apprise cannot read URL 2 of 2"
    ) as e:
        open_channel(["json://localhost", url], variable="V")

    assert "5ca1ab1e" not in str(e.value)


def test_no_token_is_logged(
    receiver: Receiver, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture
) -> None:
    """Neither apprise nor what it calls writes an address, at any level."""
    caplog.set_level(logging.DEBUG)
    secret = "5ca1ab1e"
    for port in (receiver.port, closed_port()):
        url = f"json://{secret}:{secret}@127.0.0.1:{port}/{secret}?-key={secret}&cto=1"
        open_channel([url], variable="V").send("json", [WARNING])
    with pytest.raises(ConfigurationError):
        open_channel([f"slack://{secret}"], variable="V")
    said = capfd.readouterr()

    assert len(receiver.taken()) == 1
    assert secret not in caplog.text + said.out + said.err
