"""A source's key is found by one setting, for every command that sends a source's events."""

import argparse
from pathlib import Path

import pytest

from controller.process.errors import UserError
from controller.process.private_key import SOURCE_KEY_FILE, write_new_private_key
from controller.process.settings import KAFKA, Settings, read_settings
from controller.process.source_producer import source_producer
from tieline.producer import Producer


def settings(**variables: str) -> Settings:
    """As a command reads them."""
    return read_settings(argparse.Namespace(), {KAFKA: "kafka:9092", **variables}, needs=(KAFKA,))


def test_events_are_signed_with_the_key_of_the_setting(tmp_path: Path) -> None:
    """And not signed without it."""
    path = tmp_path / "source.key"
    key = write_new_private_key(path)
    producer = source_producer(settings(**{SOURCE_KEY_FILE: str(path)}), "probe-1")
    assert isinstance(producer, Producer)
    assert producer._signing_key is not None
    assert producer._signing_key.private_bytes_raw() == key.private_bytes_raw()
    assert producer.source == "probe-1"
    assert source_producer(settings())._signing_key is None


def test_a_key_that_can_not_be_used_is_refused_by_the_name_of_the_setting(tmp_path: Path) -> None:
    """A missing file, one that others can read, and one that holds no key."""
    path = tmp_path / "source.key"
    for content, mode, why in ((None, 0, "can't be read"), ("x", 0o604, "chmod 600"), ("x", 0o600, "not an")):
        if content is not None:
            path.write_text(content)
            path.chmod(mode)
        with pytest.raises(UserError, match=f"^TIELINE_SOURCE_KEY_FILE: .*{why}"):
            source_producer(settings(**{SOURCE_KEY_FILE: str(path)}))
