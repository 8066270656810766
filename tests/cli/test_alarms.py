"""`pushloss alarms`: what would be told now, and whether the channel works."""

from collections.abc import Iterator

import pytest

from tests.receiver import Receiver, a_receiver, closed_port


@pytest.fixture
def receiver(shop, monkeypatch) -> Iterator[Receiver]:
    """A webhook that the shop's configuration names."""
    text = shop.config.read_text()
    shop.config.write_text(f'alarm_url_env = "ALARMS"\n{text}')
    with a_receiver() as receiver:
        monkeypatch.setenv("ALARMS", receiver.url)
        yield receiver


def test_a_good_week_is_calm(pushloss, week):
    """Nothing to tell, before the first load and after it."""
    before = pushloss("alarms")
    pushloss("load", str(week[0]), str(week[-1]))

    assert (0, "✓ nothing to tell\n") == (before.code, before.out)
    assert "✓ nothing to tell\n" == pushloss("alarms").out


def test_what_would_be_told_is_listed_and_not_sent(shop, pushloss, week, receiver):
    """The words are those of the messages; asked twice, they are told twice."""
    shop.simulator.script([{"sdk_app_id": 1400100001, "error_code": 60010}])
    pushloss("load", str(week[-1]), str(week[-1]))
    listed = pushloss("alarms")

    assert 0 == listed.code
    assert "[pushloss] app_0001: the API refuses (60010)" in listed.out
    assert "Whose move: an administrator of the app in the Chat console" in listed.out
    assert listed.out == pushloss("alarms").out
    assert [] == receiver.taken()


def test_a_test_message_is_sent(pushloss, receiver):
    """It says through which service it arrived."""
    ran = pushloss("alarms", "--test")

    assert (0, "✓ json: the test message was taken\n") == (ran.code, ran.out)
    assert ["test"] == receiver.titles()


def test_a_test_message_that_does_not_arrive_is_told(pushloss, receiver, monkeypatch):
    """Exit 1, with what to look at, and without the address."""
    monkeypatch.setenv("ALARMS", f"json://5ca1ab1e@127.0.0.1:{closed_port()}")
    ran = pushloss("alarms", "--test")

    assert 1 == ran.code
    assert "✗ json: the test message did not arrive" in ran.out
    assert "5ca1ab1e" not in ran.out + ran.err


def test_without_a_channel_nothing_can_be_tested(pushloss):
    """Exit 2, with the setting that is missing."""
    ran = pushloss("alarms", "--test")

    assert 2 == ran.code and "set alarm_url_env in" in ran.err


def test_an_unreadable_channel_is_told_in_words(pushloss, receiver, monkeypatch):
    """Exit 2, without the address."""
    monkeypatch.setenv("ALARMS", "nowhere://5ca1ab1e")
    ran = pushloss("alarms", "--test")

    assert 2 == ran.code and "ALARMS: apprise cannot read its URL" in ran.err
    assert "5ca1ab1e" not in ran.err
