"""No secret shows where a value is printed, as in a line of a log or in an error."""

from __future__ import annotations

import argparse
import ssl
from collections.abc import Callable

import pytest

from controller.process.connections import redis_address
from controller.process.errors import SettingError
from controller.process.redis_reader import place_of_redis
from controller.process.settings import Settings, read_settings
from controller.process.telemetry import without_password
from tieline._setup.addresses import Subscription
from tieline.credentials import Credentials, ForHosts, Token
from tieline.kafka import Brokers

SECRET = "s3cret-0f-the-test"
URL = f"rediss://user:{SECRET}@redis.test:6379/0"
HOLDERS: dict[str, Callable[[], object]] = {
    "settings": lambda: Settings(Brokers("k:1", ssl.create_default_context(), password=SECRET), URL),
    "brokers": lambda: Brokers("k:1", None, "PLAIN", username="u", password=SECRET),
    "brokers with a token": lambda: Brokers("k:1", mechanism="OAUTHBEARER", token=lambda: SECRET),
    "place of Redis": lambda: place_of_redis(URL),
    "subscription": lambda: Subscription("tieline", "chat", ("eu",), token=SECRET),
    "token": lambda: Token(SECRET),
    "secret for hosts": lambda: ForHosts(SECRET, "llm.test"),
    "credentials": lambda: Credentials({"azure": SECRET}, lambda: 0, {"TIELINE_CREDENTIAL_B": SECRET}),
}


@pytest.mark.parametrize("name", HOLDERS)
def test_what_holds_a_secret_shows_it_neither_as_text_nor_in_a_repr(name: str) -> None:
    """Also within a tuple, which prints its items by their reprs."""
    holder = HOLDERS[name]()
    assert SECRET not in repr(holder) + str(holder) + str((holder,))


def test_an_address_is_logged_without_its_password() -> None:
    """The password may come from the URL or from a variable of its own."""
    assert SECRET not in without_password(URL)
    named = redis_address("redis://redis.test:6379/0", {"TIELINE_REDIS_PASSWORD": SECRET}, "TIELINE_REDIS")
    assert SECRET in named
    assert SECRET not in without_password(named)


def test_a_password_on_the_command_line_is_refused_and_not_repeated() -> None:
    """Everybody on the machine can read it there, in the list of processes."""
    typed = argparse.Namespace(kafka="k:1", redis=URL)
    with pytest.raises(SettingError, match="everybody on this machine can read") as refused:
        read_settings(typed, {})
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize("variable", ["TIELINE_REDIS", "TIELINE_KAFKA"])
def test_an_address_that_is_wrong_is_not_repeated_with_its_password(variable: str) -> None:
    """A mistake next to a password is named without the password."""
    wrong = {"TIELINE_KAFKA": "k:1", "TIELINE_REDIS": "redis://r:1", variable: f"http//user:{SECRET}@host"}
    with pytest.raises(SettingError) as refused:
        read_settings(argparse.Namespace(), wrong)
    assert SECRET not in str(refused.value)
