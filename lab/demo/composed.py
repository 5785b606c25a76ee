"""``python -m lab.demo.composed DIRECTORY``: the files of a demo whose parts run in containers.

``standins-PROVIDER.yaml``: one service for each provider, found by the provider's name. ``policy.yaml``: the
policy with their addresses. ``caller.json``: what the traffic generator is told. Addresses of Kafka and
Redis come from the settings that every command reads.
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
from lab.demo.plan import DEMO, Pace, Plan
from lab.demo.scenario import DEMO_POOLS
from lab.standins.config import PoolConfig, StandinConfig, StandinsFile

POLICY = Path(__file__).parents[2] / "examples" / "multicloud.yaml"
PACE: Pace = replace(DEMO, requests_per_s=20.0, callers=1)
EVERYWHERE = "0.0.0.0"  # within a container: which ports leave it is compose's to say
POOL_PORT_FIRST, ADMIN_PORT_FIRST, MONITOR_PORT = 8001, 9001, 9464
LOGS = "/tmp/standins"
LOG_KEEP_BYTES = 8 * 1024 * 1024


def main(arguments: list[str]) -> int:
    """Writes the files. Exit status 0."""
    parser = argparse.ArgumentParser(prog="python -m lab.demo.composed", description=__doc__)
    parser.add_argument("directory", type=Path)
    args = parser.parse_args(arguments)
    settings = read_settings(args, os.environ)
    mean_tokens = trace.mean_tokens(trace.read())
    planned = plans.plan(load_policy(POLICY), PACE, mean_tokens, only=DEMO_POOLS)
    for name, text in files(planned, settings, args.directory).items():
        (args.directory / name).write_text(text, "utf-8")
        sys.stdout.write(f"{args.directory / name}\n")
    return 0


def files(planned: Plan, settings: Settings, directory: Path) -> dict[str, str]:
    """PURE: name -> text of every file."""
    standins = placed(
        plans.standins(planned, log_dir=LOGS, kafka=str(settings.kafka), namespace=settings.namespace)
    )
    urls = {
        one.pool_id(pool): f"http://{one.provider}:{pool.port}/v1" for one in standins for pool in one.pools
    }
    (caller,) = plans.callers(
        planned,
        1,
        redis=settings.redis,
        kafka=str(settings.kafka),
        namespace=settings.namespace,
        directory=str(directory),
    )
    caller = replace(caller, notes="-", last_good="/tmp", monitor=f"{EVERYWHERE}:{MONITOR_PORT}")
    texts = {
        "policy.yaml": plans.as_yaml(plans.addressed(planned.policy, urls)),
        "caller.json": msgspec.json.format(msgspec.json.encode(caller)).decode(),
    }
    for provider in sorted({one.provider for one in standins}):
        own = StandinsFile(tuple(one for one in standins if one.provider == provider))
        texts[f"standins-{provider}.yaml"] = yaml.safe_dump(msgspec.to_builtins(own), sort_keys=False)
    return texts


def placed(standins: Iterable[StandinConfig]) -> tuple[StandinConfig, ...]:
    """PURE: the same with ports of their own and listening where other containers reach them."""
    pool_ports, admin_ports = count(POOL_PORT_FIRST), count(ADMIN_PORT_FIRST)

    def ported(pool: PoolConfig) -> PoolConfig:
        return replace(pool, port=next(pool_ports))

    return tuple(
        replace(
            one,
            pools=tuple(map(ported, one.pools)),
            admin_port=next(admin_ports),
            host=EVERYWHERE,
            log_keep_bytes=LOG_KEEP_BYTES,
        )
        for one in standins
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
