"""A running `tieline gateway` over running stand-ins, for the tests beside this file."""

import json
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

from lab.children import Child
from tests.integration.routed import ORIGIN, WORKLOAD
from tests.waiting import SAFETY_NET_S

TOKEN = "a-token-of-some-length"
DIGEST = sha256(TOKEN.encode()).hexdigest()
AUTHORIZED = {"authorization": f"Bearer {TOKEN}"}


def settings_of(tables: str, **more: Any) -> dict[str, Any]:
    """A file of one workload with one caller, who shows ``TOKEN``; ``more`` replaces fields of it."""
    return {
        "listen": "127.0.0.1:0",
        "tables": tables,
        "workloads": [{"workload": WORKLOAD, "origins": [ORIGIN]}],
        "tokens": [{"name": "search", "sha256": DIGEST}],
        "draining": {"notice_s": 0, "within_s": 30},
        **more,
    }


class GatewayProcess:
    """A gateway in a process of its own. ``url``: what SDKs are given as the base URL."""

    def __init__(self, child: Child, url: str) -> None:
        self.child = child
        self.url = url

    @property
    def root(self) -> str:
        """The URL without ``/v1``."""
        return self.url.removesuffix("/v1")


@asynccontextmanager
async def running_gateway(
    folder: Path, settings: Mapping[str, Any], *arguments: str, environment: Mapping[str, str] | None = None
) -> AsyncIterator[GatewayProcess]:
    """Runs as long as the context lasts; then it must end well."""
    path = folder / "gateway.yaml"
    path.write_text(json.dumps(settings))  # JSON is YAML
    child = await Child.start(
        "the gateway",
        [sys.executable, "-m", "controller.cli", "gateway", "--config", str(path), *arguments],
        log=folder / "gateway.log",
        environment=environment,
    )

    async def listens() -> bool:
        return bool(_url_in(child.output()))

    await child.until_ready(listens, SAFETY_NET_S)
    try:
        yield GatewayProcess(child, _url_in(child.output()))
    finally:
        status = await child.stop(SAFETY_NET_S)
    assert status == 0, child.last_words()


def _url_in(output: str) -> str:
    """The URL that the gateway says it listens at; "" before that."""
    for line in output.splitlines():
        if line.startswith("{") and line.endswith("}"):
            entry = json.loads(line)
            if entry.get("event") == "listening":
                return str(entry["url"])
    return ""
