"""The client of a workload, as the file and the settings of the process say."""

from pathlib import Path

import pytest

import tieline
from controller.process.secret_places import SecretPlace
from controller.process.settings import Settings
from gateway.configuration import GatewayFile, ServedWorkload
from gateway.serving import client_of, without_table
from tieline.errors import ConfigurationError

CHAT = ServedWorkload("chat", ("eu", "us"))
SETTINGS = Settings(kafka="", redis="redis://127.0.0.1:6379/0")


def test_the_table_comes_from_redis_unless_the_file_names_another_place(tmp_path: Path) -> None:
    """A last good file, or a controller's endpoint with its token."""
    plain = client_of(GatewayFile(workloads=(CHAT,)), CHAT, SETTINGS, {})
    assert (plain.workload, plain.origin) == ("chat", "eu")
    assert plain.core.shared_holders is not None
    from_file = client_of(
        GatewayFile(workloads=(CHAT,), tables=str(tmp_path / "routes.bin")), CHAT, Settings(kafka=""), {}
    )
    assert from_file.core.shared_holders is None
    file = GatewayFile(workloads=(CHAT,), tables="https://c:8440", tables_token=SecretPlace(env="TABLES"))
    client_of(file, CHAT, Settings(kafka=""), {"TABLES": "a-token-of-some-length"})
    with pytest.raises(ConfigurationError):
        client_of(GatewayFile(workloads=(CHAT,), tables="nonsense://"), CHAT, Settings(kafka=""), {})


def test_a_workload_without_a_table_is_named(tmp_path: Path) -> None:
    """With the reason, for whoever asks whether the gateway is ready."""
    file = GatewayFile(workloads=(CHAT,), tables=str(tmp_path / "routes.bin"))
    client: tieline.AsyncClient = client_of(file, CHAT, Settings(kafka=""), {})
    assert without_table({"chat": client}).startswith("chat has no route table: ")


def test_spans_are_made_when_the_file_says_so() -> None:
    """Else nothing of OpenTelemetry is loaded."""
    traced = client_of(GatewayFile(workloads=(CHAT,), tracing=True), CHAT, SETTINGS, {})
    plain = client_of(GatewayFile(workloads=(CHAT,)), CHAT, SETTINGS, {})
    assert traced.core._tools.tracing is not None
    assert plain.core._tools.tracing is None
