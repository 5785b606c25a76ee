"""What `tieline acls` prints; that the rights are enough and forbid the rest is tried with real servers in
tests/integration/test_secured.py."""

from __future__ import annotations

import json

import pytest

from controller.cli import main
from controller.cli.access_rules import ROLES, kafka_rights, redis_rules
from tieline.keys import Keys
from tieline.topics import Topics


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["acls", *arguments, "--namespace", "blue"]) == 0
    return capsys.readouterr().out


def test_every_role_is_printed_for_its_own_user(capsys: pytest.CaptureFixture[str]) -> None:
    """A command for each right, of the namespace that was asked for; a user may have another name."""
    text = printed(capsys, "kafka", "--user", "client=CN=my app")
    for role in ROLES:
        assert f"# {role}\n" in text
    assert "--allow-principal User:blue-controller --operation Write --topic blue. --resource-pattern" in text
    assert "--allow-principal 'User:CN=my app' --operation Write --topic blue.demand" in text
    commands = [line for line in text.splitlines() if not line.startswith("#")]
    assert len(commands) == sum(len(kafka_rights(role, "blue")) for role in ROLES)


def test_users_of_redis_begin_without_any_right(capsys: pytest.CaptureFixture[str]) -> None:
    """So a rule that is given again takes away what was too much; roles without Redis are left out."""
    rows = json.loads(printed(capsys, "redis", "--json"))
    assert rows["producer"] == []
    for role, commands in rows.items():
        for command in commands:
            assert command.startswith(
                f"ACL SETUSER blue-{role.replace('_', '-')} on resetkeys resetchannels clearselectors -@all "
            )


def test_every_user_of_redis_may_ask_a_cluster_where_the_keys_are() -> None:
    """The first questions on each connection to a cluster are `CLUSTER INFO` and `CLUSTER SLOTS`."""
    for role in ROLES:
        rules = redis_rules(role, "blue")
        assert not rules or {"+cluster|info", "+cluster|slots"} <= set(rules), role


def test_only_controllers_may_write_what_steers_traffic() -> None:
    """Routes, the leader log, decisions and history at Kafka; routes and tables in Redis."""
    topics, keys = Topics("blue"), Keys("blue")
    steering = {topic.name for topic in (topics.routes, topics.leader, topics.decisions, topics.history)}
    for role in set(ROLES) - {"controller"}:
        written = {right.name for right in kafka_rights(role, "blue") if right.operation != "Read"}
        assert not written & steering, role
        assert not any(right.is_prefix and right.operation == "Write" for right in kafka_rights(role, "blue"))
        assert f"~{keys.routes}" not in redis_rules(role, "blue"), role


def test_only_controllers_may_publish_where_tables_are_announced() -> None:
    """An operator may announce overlays, on a channel of their own; nobody else may publish anything."""
    announcing = f"(+publish &{Keys('blue').overlay_hint})"
    for role in set(ROLES) - {"controller"}:
        rights = [rule for rule in redis_rules(role, "blue") if "publish" in rule or "@" in rule]
        assert set(rights) <= {"-@all", announcing}, role
        assert (announcing in rights) == (role == "operator")


def test_a_user_of_no_role_is_a_mistake(capsys: pytest.CaptureFixture[str]) -> None:
    """The error names the roles."""
    assert main(["acls", "kafka", "--user", "dreamer=x"]) == 2
    assert "ROLE is one of producer, collector, client" in capsys.readouterr().err
