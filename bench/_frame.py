"""The frame of every benchmark: samples in, a table and (with --json) one line of JSON out.

def measure() -> Iterator[Case]:
    yield Case("4 pools", "us", samples_us, target={"p50": 1.0, "p99": 3.0})

if __name__ == "__main__":
    sys.exit(run("pick", measure))
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from rich.console import Console
from rich.table import Table

from tieline.quantiles import nearest_rank

QUANTILES = {"p50": 0.50, "p99": 0.99}


@dataclass(frozen=True)
class Case:
    """One measurement: samples in `unit`, and the most that a quantile may be (`{"p50": 6, "p99": 15}`).

    With `at_least` the target is the least that it may be, as of a rate.
    """

    name: str
    unit: str
    samples: Sequence[float]
    target: Mapping[str, float] = field(default_factory=dict)
    at_least: bool = False

    def quantile(self, name: str) -> float:
        """The nearest-rank quantile, itself a sample. Raises ValueError without samples."""
        value = nearest_rank(self.samples, QUANTILES[name])
        if value is None:
            raise ValueError(f"{self.name}: no samples")
        return value

    @property
    def met(self) -> bool:
        """Whether every target is kept; true without any."""
        bounds = ((self.quantile(name), bound) for name, bound in self.target.items())
        return all(value >= bound if self.at_least else value <= bound for value, bound in bounds)

    def as_json(self) -> dict[str, object]:
        """The case as one object of the last line."""
        return {
            "case": self.name,
            "unit": self.unit,
            "n": len(self.samples),
            **{name: round(self.quantile(name), 4) for name in QUANTILES},
            "target": dict(self.target),
            **({"at_least": True} if self.at_least else {}),
            "met": self.met,
        }


def report(bench: str, cases: Sequence[Case], *, as_json: bool, console: Console | None = None) -> None:
    """Prints the table, and as the last line the JSON if asked for."""
    console = console or Console()
    table = Table(title=f"bench {bench}", title_justify="left")
    for heading in ("case", "unit", "n", "p50", "p99", "target", "met"):
        table.add_column(heading, justify="left" if heading in ("case", "unit", "target") else "right")
    for case in cases:
        sign = ">=" if case.at_least else "<="
        target = ", ".join(f"{name} {sign} {bound:g}" for name, bound in case.target.items()) or "-"
        quantiles = [f"{case.quantile(name):.4g}" for name in QUANTILES]
        table.add_row(
            case.name, case.unit, str(len(case.samples)), *quantiles, target, "yes" if case.met else "NO"
        )
    console.print(table)
    if as_json:
        line = json.dumps({"bench": bench, "cases": [case.as_json() for case in cases]})
        console.file.write(line + "\n")


def run(bench: str, measure: Callable[[], Iterable[Case]], arguments: Sequence[str] | None = None) -> int:
    """A benchmark's main: parses `--json`, measures, reports. Returns 0 also when a target was missed:
    a figure is a fact about this machine, whoever asks decides on `met`."""
    parser = argparse.ArgumentParser(prog=f"script/bench {bench}")
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    chosen = parser.parse_args(arguments)
    report(bench, list(measure()), as_json=chosen.json)
    return 0
