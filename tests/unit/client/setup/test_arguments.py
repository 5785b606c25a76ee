"""Arguments that can't work are refused at once, by an error that names them and never repeats a secret."""

from typing import Any

import pytest

import tieline
from tieline._setup.arguments import parse_generation
from tieline.kafka import Brokers
from tieline.table import Generation
from tieline.testing import FakePools


def client(**changes: Any) -> tieline.AsyncClient:
    """A client that would work, except for these changes."""
    settings = {"source": "redis://127.0.0.1:1", "workload": "chat", "origin": "eu", **changes}
    return tieline.AsyncClient(settings.pop("source"), **settings)


@pytest.mark.parametrize(
    ("setting", "value", "remedy"),
    [
        ("origins", "us", "a list of names"),
        ("origins", ["u s"], "origin='u s'"),
        ("workload", None, "workload=None"),
        ("overlay_keys", "overlay.pub", "a list of keys"),
        ("client_id", "shop 1", "client_id='shop 1'"),
        ("namespace", "", "namespace=''"),
        ("timeouts", 5, "tieline.Timeouts"),
        ("timeouts", tieline.Timeouts(idle="5"), "timeouts: idle='5'"),  # type: ignore[arg-type]
        ("credentials", ["azure"], "a mapping"),
        ("credentials", {"azure": 5}, r"credentials\['azure'\]: expected a string or a function"),
        ("token", 5, "token: expected a string or a function"),
        ("kafka", "http://broker:9092", "expected host:port"),
        ("kafka", "", "expected host:port"),
        ("kafka", 5, "kafka=int"),
        ("kafka", Brokers("broker:9092", mechanism="SCRAM"), "expected one of PLAIN, SCRAM-SHA-256"),
        ("source", "redis://host:port", "not a usable address of Redis"),
        ("source", "redis://host:6379/first", "not a usable address of Redis"),
        ("source", "redis://:hush/hush@host:6379", "percent-encoding"),
    ],
)
def test_a_setting_that_cant_work_is_named(setting: str, value: Any, remedy: str) -> None:
    """The constructor says what is expected: no wrong argument is ignored, or shows only at a request."""
    with pytest.raises(tieline.ConfigurationError, match=remedy) as caught:
        client(**{setting: value})
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize(
    "changes",
    [
        {"credentials": {"azure": None}},
        {"credentials": {"azure": "x", "gcp": tieline.EntraToken()}, "token": lambda: "x"},
        {"kafka": "one:9092, two:9092"},
        {"kafka": Brokers("[::1]:9092", mechanism="SCRAM-SHA-256", username="u", password="p")},
        {"source": "unix:///run/redis.sock?db=1"},
        {"source": "rediss://user:pass%2Fword@host:6380/3"},
        {"source": FakePools({"a/r/x": 1}, model="m"), "origins": ("us", "jp")},
    ],
)
def test_what_can_work_is_taken(changes: dict[str, Any]) -> None:
    """Addresses with all their parts, secrets as strings, functions and from the environment."""
    assert client(**changes).status.state is tieline.State.OFF


def test_a_generation_as_the_status_shows_it() -> None:
    """A lineage may have colons of its own; anything else is refused by name."""
    assert parse_generation("a:b:3:42") == Generation("a:b", 3, 42)
    for wrong in ("42", "a:b:c", ":1:2", "a:1:²", None):
        with pytest.raises(tieline.ConfigurationError, match="expected lineage:epoch:seq"):
            parse_generation(wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"deadline": 0}, "deadline=0"),
        ({"deadline": "20"}, "deadline='20'"),
        ({"session": 42}, "session=42"),
        ({"needs": ["vision"]}, "expected tieline.Needs"),
    ],
)
def test_options_that_cant_be_are_refused(wrong: dict[str, Any], named: str) -> None:
    """Where they are set, not by a request somewhere inside."""
    with pytest.raises(tieline.ConfigurationError, match=named), tieline.options(**wrong):
        pass


@pytest.mark.parametrize("setting", ["transport", "proxy", "mounts", "verify", "limits", "follow_redirects"])
def test_a_setting_that_would_go_past_the_transport_is_refused(setting: str) -> None:
    """By the client and its twin: it would have no effect, or send requests where no pool is."""
    with pytest.raises(tieline.ConfigurationError, match=f"http_client.{setting}=.: .*SSL_CERT_FILE"):
        client().http_client(**{setting: None})
    twin = tieline.Client("routes.bin", workload="chat", origin="eu")
    with pytest.raises(tieline.ConfigurationError, match=setting):
        twin.http_client(**{setting: None})


@pytest.mark.parametrize(
    "wrong",
    [
        {"source": "localhost:6379"},
        {"source": "kafka://localhost:9092"},
        {"source": None},
        {"source": "https://"},
        {"source": "https://user:secret@controller"},
        {"workload": "a b"},
        {"origin": ""},
    ],
)
def test_an_address_or_a_name_that_cant_work_is_named(wrong: dict[str, str | None]) -> None:
    """Before anything is started, and without a password that the address may contain."""
    settings = {"source": "redis://127.0.0.1:1", "workload": "chat", "origin": "eu", **wrong}
    with pytest.raises(tieline.ConfigurationError, match=next(iter(wrong))) as caught:
        tieline.AsyncClient(settings.pop("source"), **settings)  # type: ignore[arg-type]
    assert "secret" not in str(caught.value)
