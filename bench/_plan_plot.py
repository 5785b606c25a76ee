"""Draws how decisions grow: script/bench plan --json | python -m bench._plan_plot FILE.svg

In: the lines of a benchmark, of which the last is its JSON. Out: one SVG of four graphs.
"""

import sys
from pathlib import Path

from bench._plot import Graph, Line, Point, Values, picture, values_of

POOLS = (40, 400, 1_000, 2_000, 4_000)
BELOW = "pools"


def graphs(values: Values) -> list[Graph]:
    """The reflex, the first table, and time and memory of a solve, by pools. Raises KeyError for a case that
    was not measured."""

    def by_pools(name: str, unit: str, quantile: str = "p50") -> list[Point]:
        return [(pools, values[name.format(pools), unit][quantile]) for pools in POOLS]

    return [
        Graph(
            "A pool is lost, ms of a processor",
            BELOW,
            [
                Line("p99", by_pools("reflex {} pools, processor", "ms", "p99")),
                Line("p50", by_pools("reflex {} pools, processor", "ms")),
            ],
        ),
        Graph(
            "The first table, ms of a processor",
            BELOW,
            [Line("measured", by_pools("first table {} pools, processor", "ms"))],
        ),
        Graph(
            "The whole table solved, ms of a processor",
            BELOW,
            [
                Line("an hour later", by_pools("dispatch {} pools, processor", "ms")),
                Line("from merit order", by_pools("dispatch {} pools, from merit order, processor", "ms")),
            ],
        ),
        Graph(
            "Peak memory of the process, MB",
            BELOW,
            [Line("from merit order", by_pools("memory of dispatch {} pools", "MB"))],
        ),
    ]


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(picture(graphs(values_of(sys.stdin.read()))))
