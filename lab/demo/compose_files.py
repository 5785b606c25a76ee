"""``python -m lab.demo.compose_files DIRECTORY``: writes the files of a demo whose parts run in containers.

``standins-PROVIDER.yaml``: what each provider's container serves; compose finds it by the provider's name.
``policy.yaml``: the policy with their addresses. ``caller.json``: the configuration of the traffic generator.
The addresses of Kafka and Redis come from the settings that every command reads.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable
from itertools import count
from pathlib import Path

import msgspec
import yaml
from msgspec.structs import replace

from controller.policy_file import load_policy
from controller.process.settings import Settings, read_settings
from lab.demo import plan as plans
from lab.demo import trace
from lab.demo.examples import example
from lab.demo.plan import DEMO, Pace, Plan
from lab.demo.scenario import DEMO_POOLS
from lab.standins.config import PoolConfig, StandinConfig, StandinsFile

POLICY = "multicloud.yaml"
PACE: Pace = replace(DEMO, requests_per_s=20.0, callers=1)
EVERYWHERE = "0.0.0.0"  # within a container; compose says which ports can be reached from outside
POOL_PORT_FIRST, ADMIN_PORT_FIRST, MONITOR_PORT = 8001, 9001, 9464
LOGS = "/tmp/standins"
LOG_KEEP_BYTES = 8 * 1024 * 1024


def main(arguments: list[str]) -> int:
    """Writes the files and prints their names. Exit status 0."""
    parser = argparse.ArgumentParser(prog="python -m lab.demo.compose_files", description=__doc__)
    parser.add_argument("directory", type=Path)
    args = parser.parse_args(arguments)
    settings = read_settings(args, os.environ)
    for name, text in files(compose_plan(), settings, args.directory).items():
        (args.directory / name).write_text(text, "utf-8")
        sys.stdout.write(f"{args.directory / name}\n")
    return 0


def compose_plan() -> Plan:
    """The plan of a small run: one caller at 20 requests/s."""
    return plans.plan(load_policy(example(POLICY)), PACE, trace.mean_tokens(trace.read()), only=DEMO_POOLS)


def files(plan: Plan, settings: Settings, directory: Path) -> dict[str, str]:
    """PURE: file name -> text."""
    standins = with_ports(
        plans.standins(plan, log_dir=LOGS, kafka=str(settings.kafka), namespace=settings.namespace)
    )
    urls = {
        standin.pool_id(pool): f"http://{standin.provider}:{pool.port}/v1"
        for standin in standins
        for pool in standin.pools
    }
    (caller,) = plans.callers(
        plan,
        1,
        redis=settings.redis,
        kafka=str(settings.kafka),
        namespace=settings.namespace,
        directory=str(directory),
    )
    caller = replace(caller, notes="-", last_good="/tmp", monitor=f"{EVERYWHERE}:{MONITOR_PORT}")
    texts = {
        "policy.yaml": plans.as_yaml(plans.addressed(plan.policy, urls)),
        "caller.json": msgspec.json.format(msgspec.json.encode(caller)).decode(),
    }
    for provider in sorted({standin.provider for standin in standins}):
        own = StandinsFile(tuple(standin for standin in standins if standin.provider == provider))
        texts[f"standins-{provider}.yaml"] = yaml.safe_dump(msgspec.to_builtins(own), sort_keys=False)
    return texts


def with_ports(standins: Iterable[StandinConfig]) -> tuple[StandinConfig, ...]:
    """PURE: the same stand-ins, each pool on a port of its own that other containers can reach."""
    pool_ports, admin_ports = count(POOL_PORT_FIRST), count(ADMIN_PORT_FIRST)

    def with_port(pool: PoolConfig) -> PoolConfig:
        return replace(pool, port=next(pool_ports))

    return tuple(
        replace(
            standin,
            pools=tuple(map(with_port, standin.pools)),
            admin_port=next(admin_ports),
            host=EVERYWHERE,
            log_keep_bytes=LOG_KEEP_BYTES,
        )
        for standin in standins
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
