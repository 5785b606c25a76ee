"""`tieline demo --through gateway`: `tieline gateway` between applications and pools.

Applications then know nothing of Tieline: they send to the gateway and name workload and origin in headers.
"""

import asyncio
import json
import urllib.error
import urllib.request
from collections.abc import Iterable
from pathlib import Path

from lab.stack.server import LOOPBACK, free_ports

WORKERS = 2
ASK_WITHIN_S = 5.0


class GatewayPlace:
    """Where one gateway listens, and its file. ``routes``: what it serves, as (workload, origin)."""

    def __init__(self, file: Path, routes: Iterable[tuple[str, str]]) -> None:
        self._file = file
        (port,) = free_ports(1)
        self._root = f"http://{LOOPBACK}:{port}"
        origins: dict[str, dict[str, None]] = {}
        for workload, origin in routes:
            origins.setdefault(workload, {})[origin] = None
        settings = {
            "listen": f"{LOOPBACK}:{port}",
            "workers": WORKERS,
            "access_log": "",
            "workloads": [{"workload": name, "origins": list(each)} for name, each in origins.items()],
            "draining": {"notice_s": 0, "within_s": 30},
        }
        file.write_text(json.dumps(settings))  # JSON is YAML

    @property
    def url(self) -> str:
        """What applications are given as their base URL."""
        return f"{self._root}/v1"

    @property
    def arguments(self) -> tuple[str, ...]:
        """Of `tieline`. An address in TIELINE_MONITOR is the controller's."""
        return "gateway", "--config", str(self._file), "--monitor", ""

    async def is_ready(self) -> bool:
        """Whether it has a table for every workload."""
        return await asyncio.to_thread(self._answers_well)

    def _answers_well(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self._root}/readyz", timeout=ASK_WITHIN_S) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False
