"""The files of the demo in containers fit together."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from controller.policy_file import load_policy
from controller.process.settings import Settings
from lab.demo import compose_files
from lab.demo.caller import CallerConfig
from lab.demo.scenario import DEMO_POOLS
from lab.standins.config import StandinConfig, parse


@pytest.fixture(scope="module")
def written() -> dict[str, str]:
    """File name -> text."""
    settings = Settings("kafka:9092", "redis://valkey:6379/0")
    return compose_files.files(compose_files.compose_plan(), settings, Path("/somewhere"))


def standins(written: dict[str, str]) -> dict[str, StandinConfig]:
    """Pool id -> the configuration that serves it."""
    found = (
        one for name, text in written.items() if name.startswith("standins-") for one in parse(text, name)
    )
    return {one.pool_id(pool): one for one in found for pool in one.pools}


def test_the_policy_addresses_the_stand_ins(written: dict[str, str], tmp_path: Path) -> None:
    """Each pool of the policy is served by the stand-in of its provider, on the port that it names."""
    file = tmp_path / "policy.yaml"
    file.write_text(written["policy.yaml"])
    policy = load_policy(file)
    served = standins(written)
    assert {pool.id for pool in policy.pools} == set(served) == set(DEMO_POOLS)
    for pool in policy.pools:
        (config,) = (one for one in served[pool.id].pools if served[pool.id].pool_id(one) == pool.id)
        assert pool.url == f"http://{pool.provider}:{config.port}/v1"


def test_ports_are_told_apart(written: dict[str, str]) -> None:
    """No two pools and no two admin ports share a number, and others can reach them."""
    configs = {(one.provider, one.region): one for one in standins(written).values()}.values()
    ports = [pool.port for one in configs for pool in one.pools] + [one.admin_port for one in configs]
    assert len(set(ports)) == len(ports)
    assert {one.host for one in configs} == {"0.0.0.0"}


def test_traffic_goes_by_the_same_kafka_and_redis(written: dict[str, str]) -> None:
    """The generator gets the addresses of the settings, and writes its notes where compose collects them."""
    caller = msgspec.json.decode(written["caller.json"], type=CallerConfig)
    assert (caller.kafka, caller.redis, caller.notes) == ("kafka:9092", "redis://valkey:6379/0", "-")
