"""The installation that the runbooks are run on, with signed orders and signed tables as in production.

It has a stack, two controllers, two probers, stand-ins for four providers, and an application that sends
requests.
"""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import socket
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from msgspec.structs import replace

from controller.core.policy.operators import Operator
from controller.policy_file import load_policy
from controller.process.private_key import write_new_private_key
from controller.process.seal import CONTROLLER_KEYS_FILE, SIGNING_KEY_FILE
from lab.children import Child
from lab.demo import trace
from lab.demo.fleet import NAMESPACE, Fleet
from lab.demo.plan import FAST, plan
from lab.standins.process import StandinProcess
from tests.integration.runbook_pages import Page, excerpt_of
from tests.places import EXAMPLE_POLICY
from tests.waiting import until
from tieline.order_signing import encode_public_key

WITHIN_S = 180.0
COMMAND_WITHIN_S = 180.0
COLUMNS = "400"  # no sentence is cut or wrapped
OPERATOR = "kim"
POOLS = (
    "azure/eastus2/gpt-4o",
    "azure/swedencentral/gpt-4o",
    "azure/norwayeast/gpt-4o",
    "gcp/us-central1/gemini-pro",
    "gcp/europe-west4/gemini-pro",
    "oci/us-chicago-1/gpt-oss",
    "coreweave/us-east-04/gpt-oss",
    "coreweave/eu-north-1/gpt-oss",
)
PACE = replace(FAST, requests_per_s=24.0, callers=1)


class Lab(Fleet):
    """The running installation. ``page``: the runbook whose commands are being run."""

    def __init__(self, directory: Path) -> None:
        key = write_new_private_key(directory / "kim.key")
        controller = write_new_private_key(directory / "controller.key").public_key()
        public = controller.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        (directory / "controllers.pub").write_bytes(public)
        rows = trace.read()
        lab_plan = plan(load_policy(EXAMPLE_POLICY), PACE, trace.mean_tokens(rows), only=POOLS)
        operator = Operator(OPERATOR, (encode_public_key(key.public_key().public_bytes_raw()),), ("*",))
        policy = replace(lab_plan.policy, operators=(operator,))
        super().__init__(replace(lab_plan, policy=policy), directory, lambda _: None)
        self._rows = len(rows)
        self.standby: Child | None = None
        self.page = Page(Path())

    @property
    def environment(self) -> dict[str, str]:
        """The settings of our own commands, with the keys of the operator and of the controllers."""
        return {
            **super().environment,
            "TIELINE_UNSIGNED_DEV_MODE": "0",
            "TIELINE_OPERATOR_KEY_FILE": str(self.directory / "kim.key"),
            SIGNING_KEY_FILE: str(self.directory / "controller.key"),
            CONTROLLER_KEYS_FILE: str(self.directory / "controllers.pub"),
            "XDG_CONFIG_HOME": str(self.directory),
            "XDG_CACHE_HOME": str(self.directory),
            "COLUMNS": COLUMNS,
        }

    async def open(self) -> None:
        """Returns when every pool is healthy and a second controller stands by."""
        await self.start(self._rows)
        await self.start_command("prober-us", "probe", "--source", "prober-us", "--monitor", "")
        await self.start_standby()
        await self.until_calm()

    async def start_standby(self) -> None:
        """Starts a controller beside the one that leads."""
        self.standby = await self.start_command("standby", "controller")

    async def kill_leader(self) -> None:
        """SIGKILL. ``standby`` is then the controller that was none."""
        _, output = await self.run("tieline status")
        leads = re.search(r"\(pid (\d+)\) leads", output)
        assert leads, output
        if self.standby is not None and self.standby.pid == int(leads[1]):
            self.standby, self.controllers = self.controller, [self.standby]
        await self.kill_controller()

    def standins_of(self, provider: str) -> list[StandinProcess]:
        """Those of a provider or of one provider/region."""
        return [standin for name, standin in self.standins.items() if f"{name}/".startswith(f"{provider}/")]

    async def run(self, command: str) -> tuple[int, str]:
        """Runs a command line that begins with `tieline`; returns its exit status and all that it printed."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "controller.cli", *shlex.split(command)[1:]),
            env={**os.environ, **self.environment},
            cwd=self.directory,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await asyncio.wait_for(process.communicate(), COMMAND_WITHIN_S)
        return process.returncode or 0, self._plain(output.decode())

    async def asks(self, command: str, *shows: str, status: Sequence[int] = (0, 1)) -> None:
        """Asks until the output has all these patterns; the page shows the lines that have one."""
        last = ""

        async def excerpt() -> tuple[str, ...]:
            nonlocal last
            exit_status, last = await self.run(command)
            return excerpt_of(last, shows) if exit_status in status else ()

        try:
            lines = await until(excerpt, WITHIN_S, command)
        except AssertionError:
            raise AssertionError(f"{command} never printed all of {shows}, but last:\n{last}") from None
        self.page.add(command, lines)

    async def orders(self, command: str, *shows: str, status: int = 0) -> None:
        """Gives an order once; the page shows the lines that have one of these patterns."""
        exit_status, output = await self.run(command)
        lines = excerpt_of(output, shows)
        assert exit_status == status, f"{command} ended with {exit_status}:\n{output}"
        assert lines, f"{command} did not print all of {shows}:\n{output}"
        self.page.add(command, lines)

    async def until_status(self, fits: Callable[[str], object]) -> str:
        """Waits for a `tieline status` that fits."""

        async def fitting() -> str:
            _, output = await self.run("tieline status")
            return output if fits(output) else ""

        return await until(fitting, 2 * WITHIN_S, "the status")

    async def until_calm(self) -> None:
        """Waits until every pool is healthy and nothing is shed or held back. Alarms may last."""
        await self.until_status(_is_calm)

    def _plain(self, output: str) -> str:
        """The output as on a machine of the reader's own."""
        kafka, valkey = self.stack.kafka, self.stack.valkey
        texts = {
            f"('127.0.0.1', {valkey.port})": "('redis-1', 6379)",
            f"('127.0.0.1', {kafka.port}, <AddressFamily.AF_INET: 2>)": "('kafka-1', 9092)",
            self.stack.kafka_bootstrap: "kafka-1:9092",
            self.stack.redis_url: "redis://redis-1:6379/0",
            self.stack.redis_url.removeprefix("redis://").removesuffix("/0"): "redis-1:6379",
            f"{self.directory}/": "",
            NAMESPACE + ".": "tieline.",
            repr(NAMESPACE): "'tieline'",
            f" on {socket.gethostname()} ": " on host-1 ",
        }
        for text, plain in texts.items():
            output = output.replace(text, plain)
        return output


def _is_calm(output: str) -> bool:
    pools = re.findall(r"^\S+/\S+/\S+ +(\w+)", output, re.MULTILINE)
    troubles = re.search(r"^(NO LEADER|SHEDDING|held back)", output, re.MULTILINE)
    return len(pools) >= len(POOLS) and set(pools) == {"healthy"} and not troubles
