"""``tieline.offline``: a client that takes its table from a file, without any control plane."""

from pathlib import Path
from typing import Any

from tieline._client import AsyncClient


def offline(file: str | Path, *, workload: str, origin: str, **settings: Any) -> AsyncClient:
    """An ``AsyncClient`` over a last good file, looked at every second. ``workload`` and ``origin``: of those
    that it holds; ``settings`` go to the client. A file that is missing or damaged shows in ``status``."""
    return AsyncClient(Path(file), workload=workload, origin=origin, **settings)
