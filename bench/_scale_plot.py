"""Draws what `scale` measured: script/bench scale --json | python -m bench._scale_plot FILE.svg

In: the lines of a benchmark, of which the last is its JSON. Out: one SVG of four graphs.
"""

import sys
from pathlib import Path

from bench._plot import Graph, Line, Point, Values, picture, values_of

CLIENTS = (100, 300, 1_000)
WORKERS = (1, 2, 4)
SIZES = (
    ("400 pools x 10 workloads", 4),
    ("1,000 pools x 20 workloads", 20),
    ("4,000 pools x 50 workloads", 200),
)


def graphs(values: Values) -> list[Graph]:
    """The four graphs. Raises KeyError for a case that was not measured."""
    first = SIZES[0][0]

    def by_clients(name: str, unit: str, quantile: str = "p50") -> list[Point]:
        return [(count, values[name.format(count), unit][quantile]) for count in CLIENTS]

    workers = [(number, f"ingest, {number} worker{'s' if number > 1 else ''}") for number in WORKERS]
    told = f"told, {{}} clients, {first}"
    return [
        Graph(
            "Records taken in, 1/s, of 50 pools each",
            "workers on two processors",
            [
                Line("measured", [(number, values[name, "records/s"]["p50"]) for number, name in workers]),
                Line(
                    "of one processor: 1 s / a worker's time for a record",
                    [
                        (number, 1e6 / values[f"{name}, processor", "us/record"]["p50"])
                        for number, name in workers
                    ],
                ),
            ],
        ),
        Graph(
            "From the projection to the table in force, ms",
            "clients of one Redis",
            [Line("p99", by_clients(told, "ms", "p99")), Line("p50", by_clients(told, "ms"))],
        ),
        Graph(
            "What Redis sends to clients that only poll, KiB/s",
            "clients of one Redis",
            [Line("measured", by_clients(f"idle, {{}} clients, {first}", "KiB/s"))],
        ),
        Graph(
            "A publication, MiB",
            "pools x workloads, in thousands",
            [
                Line("whole", _sizes(values, "record (table, policy, memory), {}")),
                Line("in Kafka", _sizes(values, "record in Kafka, {}")),
            ],
        ),
    ]


def _sizes(values: Values, name: str) -> list[Point]:
    return [(thousands, values[name.format(size), "KiB"]["p50"] / 1_024) for size, thousands in SIZES]


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(picture(graphs(values_of(sys.stdin.read()))))
