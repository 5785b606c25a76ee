"""The route table from a file, as ``write_last_good`` makes them: for running without a control plane."""

import asyncio
from collections.abc import Collection
from pathlib import Path

from tieline._tables.checks import Fetched, Holder
from tieline._tables.last_good import read_last_good
from tieline.table import TableError

POLL_S = 1.0


class FileSource:
    """Looks at the file every second; a newer generation replaces the one held."""

    def __init__(self, path: Path, workload: str, origins: Collection[str]) -> None:
        self._path, self._workload, self._origins = path, workload, origins

    async def run(self, holder: Holder) -> None:
        """Until cancelled."""
        while True:
            try:
                found = await asyncio.to_thread(read_last_good, self._path, self._workload, self._origins)
                if found is None:
                    raise TableError(f"{self._path}: no such file")
                holder.overlay(found.overlay)
                held = holder.held_generation
                if held is not None and found.generation.lineage != held.lineage:
                    raise TableError(
                        f"LINEAGE: {self._path} has {found.generation}, this client holds {held}"
                    )
                if found.generation.newer_than(held):
                    holder.take(Fetched(found, {}))
                holder.heard()
            except TableError as error:
                holder.failed(str(error))
            await asyncio.sleep(POLL_S)
