"""Settings of a command, from flags and the environment."""

from __future__ import annotations

import argparse

import pytest

from controller.process.errors import SettingError
from controller.process.settings import KAFKA, REDIS, read_settings


def test_a_password_is_not_typed() -> None:
    """Everybody on the machine can read the arguments of a process; the error doesn't repeat the password.
    The variable may hold it."""
    typed = argparse.Namespace(kafka="host:9092", redis="redis://user:geheim@host:6379/0")
    with pytest.raises(SettingError) as refused:
        read_settings(typed, {})
    assert "geheim" not in str(refused.value)
    assert "TIELINE_REDIS_PASSWORD_FILE" in str(refused.value)
    url = "redis://user:geheim@host:6379/0"
    assert read_settings(argparse.Namespace(), {KAFKA: "host:9092", REDIS: url}).redis == url
    plain = argparse.Namespace(kafka="host:9092", redis="redis://user@host:6379/0")
    assert read_settings(plain, {}).redis == plain.redis
