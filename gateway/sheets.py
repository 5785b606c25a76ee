"""What each worker tells the one process that answers at ``--monitor``: its readiness and its metrics.

Each worker writes a sheet, a file in a directory that they share, once a second; whoever is asked for metrics
adds the sheets up. A sum over workers is right for counters and histograms. For gauges it counts workers: the
state of a client is told by one of each.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec
from msgspec import Struct
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from controller.process.monitor import Vitals, families_of

WRITE_EVERY_S = 1.0
SILENT_AFTER_MS = 15_000


class Row(Struct, frozen=True, array_like=True):
    """One sample of a family."""

    family: str
    help: str
    kind: str
    name: str
    labels: dict[str, str]
    value: float


class Sheet(Struct, frozen=True):
    """``at_ms``: when it was written, by the machine's monotonic clock. ``unready``: why the worker takes no
    requests now, "" while it does."""

    at_ms: int
    unready: str
    rows: tuple[Row, ...]


_decoder = msgspec.msgpack.Decoder(Sheet)


def sheet_of(vitals: Vitals, at_ms: int) -> Sheet:
    """A worker's sheet."""
    return Sheet(
        at_ms,
        vitals.unready,
        tuple(
            Row(
                family.name,
                family.documentation,
                family.type,
                name=sample.name,
                labels=sample.labels,
                value=sample.value,
            )
            for family in families_of(vitals)
            for sample in family.samples
        ),
    )


def write_sheet(folder: Path, number: int, sheet: Sheet) -> None:
    """Puts the worker's sheet in the place of its last one, whole or not at all."""
    path = folder / f"worker-{number}"
    new = path.with_suffix(".new")
    new.write_bytes(msgspec.msgpack.encode(sheet))
    new.replace(path)


def read_sheets(folder: Path, workers: int) -> list[Sheet | None]:
    """The sheet of each worker; None for one that has none."""
    return [_read(folder / f"worker-{number}") for number in range(workers)]


def _read(path: Path) -> Sheet | None:
    try:
        return _decoder.decode(path.read_bytes())
    except (OSError, msgspec.MsgspecError):
        return None


def vitals_of(sheets: Sequence[Sheet | None], now_ms: int) -> Vitals:
    """All workers together. They are ready while one is: the socket is one for all."""
    complaints = [_complaint(number, sheet, now_ms) for number, sheet in enumerate(sheets)]
    unready = "; ".join(complaints) if all(complaints) else ""
    return Vitals(unready, (), (Summed([sheet for sheet in sheets if sheet is not None]),))


def _complaint(number: int, sheet: Sheet | None, now_ms: int) -> str:
    if sheet is None:
        return f"worker {number} has not started"
    if now_ms - sheet.at_ms > SILENT_AFTER_MS:
        return f"worker {number} has been silent for {(now_ms - sheet.at_ms) // 1_000} s"
    return f"worker {number}: {sheet.unready}" if sheet.unready else ""


class Summed(Collector):
    """The families of several sheets, each once, its samples added up."""

    def __init__(self, sheets: Sequence[Sheet]) -> None:
        self._sheets = sheets

    def collect(self) -> Iterable[Metric]:
        """In the order in which they come first."""
        families: dict[str, Metric] = {}
        sums: dict[tuple[str, str, tuple[tuple[str, str], ...]], float] = {}
        for row in (row for sheet in self._sheets for row in sheet.rows):
            families.setdefault(row.family, Metric(row.family, row.help, row.kind))
            key = row.family, row.name, tuple(row.labels.items())
            sums[key] = sums.get(key, 0.0) + row.value
        for (family, name, labels), value in sums.items():
            families[family].add_sample(name, dict(labels), value)
        return families.values()
