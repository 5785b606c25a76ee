"""Contexts: which settings count, what keeps installations apart, and that no password is in the file."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pytest

from controller.process.contexts import OPERATOR_KEY_FILE, read_contexts
from controller.process.errors import SettingError
from controller.process.settings import KAFKA, REDIS, Settings, place_from, read_settings

FILE = """
current: prod
contexts:
  prod:
    kafka: prod:9093
    kafka_user: tieline
    kafka_sasl: SCRAM-SHA-512
    kafka_password_file: secret
    redis: rediss://prod:6379/0
    namespace: west
  lab: {kafka: "lab:9092", redis: "redis://lab:6379/0"}
"""


@pytest.fixture
def home(tmp_path: Path) -> dict[str, str]:
    """The environment of a user who has the file above."""
    directory = tmp_path / "tieline"
    directory.mkdir()
    (directory / "config.yaml").write_text(FILE)
    (directory / "secret").write_text("hunter2\n")
    return {"XDG_CONFIG_HOME": str(tmp_path)}


def settings(environment: dict[str, str], *, follows_current: bool = True, **flags: Any) -> Settings:
    return read_settings(argparse.Namespace(follows_current=follows_current, **flags), environment, needs=())


def test_the_current_context_says_where_the_servers_are(home: dict[str, str]) -> None:
    """Without flags and variables all comes from it, the password from its file, and it is named."""
    read = settings(home)
    assert str(read.kafka) == "prod:9093"
    assert not isinstance(read.kafka, str)
    assert (read.kafka.username, read.kafka.password) == ("tieline", "hunter2")
    assert (read.redis, read.namespace) == ("rediss://prod:6379/0", "west")
    assert read.context == "context prod"


def test_a_flag_counts_before_a_variable_and_that_before_a_context(home: dict[str, str]) -> None:
    """What comes from elsewhere is named beside the context."""
    by_variable = settings({**home, KAFKA: "other:9092"})
    assert (by_variable.kafka, by_variable.redis) == ("other:9092", "rediss://prod:6379/0")
    assert by_variable.context == "context prod, Kafka by TIELINE_KAFKA"
    by_flag = settings({**home, KAFKA: "other:9092"}, kafka="typed:9092")
    assert (by_flag.kafka, by_flag.context) == ("typed:9092", "context prod, Kafka by --kafka")


def test_security_belongs_to_the_address_of_its_context(home: dict[str, str]) -> None:
    """The password of a context is not sent to an address that comes from elsewhere."""
    assert settings({**home, KAFKA: "other:9092"}).kafka == "other:9092"


def test_a_context_that_was_typed_counts_before_all_variables(home: dict[str, str]) -> None:
    """Who types `--context lab` speaks to lab alone, whatever is exported in this shell."""
    exported = {KAFKA: "x:9092", REDIS: "redis://x:6379/0", "TIELINE_NAMESPACE": "x", f"{KAFKA}_TLS": "1"}
    read = settings({**home, **exported}, context="lab")
    assert (read.kafka, read.redis, read.namespace) == ("lab:9092", "redis://lab:6379/0", "tieline")
    assert read.context == "context lab"


def test_a_context_named_by_its_variable_counts_after_the_others(home: dict[str, str]) -> None:
    """TIELINE_CONTEXT names what no other variable says."""
    read = settings({**home, "TIELINE_CONTEXT": "lab", REDIS: "redis://x:6379/0"})
    assert (read.kafka, read.redis) == ("lab:9092", "redis://x:6379/0")
    assert read.context == "context lab, Redis by TIELINE_REDIS"


def test_the_operators_key_may_be_the_contexts_or_ones_own(home: dict[str, str]) -> None:
    """A context may name a key file; where it names none, the variable counts, also for a typed context."""
    path = Path(home["XDG_CONFIG_HOME"]) / "tieline" / "config.yaml"
    own = {**home, OPERATOR_KEY_FILE: "/own.key"}
    typed = argparse.Namespace(context="lab", follows_current=True)
    assert place_from(typed, own).environment[OPERATOR_KEY_FILE] == "/own.key"
    path.write_text("contexts: {lab: {kafka: 'lab:9092', key_file: kim.key}}")
    assert place_from(typed, own).environment[OPERATOR_KEY_FILE] == str(path.parent / "kim.key")


def test_the_current_context_is_left_out_where_both_addresses_are_set(home: dict[str, str]) -> None:
    """Its namespace must not reach an installation that the variables name."""
    read = settings({**home, KAFKA: "x:9092", REDIS: "redis://x:6379/0"})
    assert (read.namespace, read.context) == ("tieline", "")


def test_a_process_that_runs_for_long_follows_no_current_context(home: dict[str, str]) -> None:
    """A controller that is tried out on a laptop must not join production; a context that is named counts."""
    assert settings(home, follows_current=False).kafka == ""
    assert settings(home, follows_current=False, context="lab").kafka == "lab:9092"


def test_an_unknown_context_names_those_that_there_are(home: dict[str, str]) -> None:
    """The mistake says who asked for it and what the file has."""
    with pytest.raises(SettingError, match=r"--context: there is no context 'prd' in .*: it has lab, prod"):
        settings(home, context="prd")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("- x", "give `contexts:`"),
        ("contexts: {a: {kafka: [1]}}", "contexts.a.kafka: give a text"),
        ("contexts: {a: {kafak: x}}", "contexts.a.kafak: there is no such field: give one of kafka"),
        ("contexts: {a: {redis_password: x}}", "name that file by redis_password_file"),
        ("contexts: {a: {redis: 'redis://:hunter2@x'}}", "name that file by redis_password_file"),
        ("contexts: {a: x}", "the context a must map fields to values"),
        ("contexts: [a]", "must map names to contexts"),
        ("users: {}", "and perhaps `current:`, not users"),
        ("a: [", "is not YAML"),
    ],
)
def test_a_mistake_names_the_place_and_no_secret(tmp_path: Path, text: str, words: str) -> None:
    """Each is one sentence with the field; what may be a password is not repeated."""
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(SettingError) as refusal:
        read_contexts(path)
    assert words in str(refusal.value)
    assert "hunter2" not in str(refusal.value)
