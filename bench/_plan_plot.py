"""Draws how the dispatch grows: script/bench plan --json | python -m bench._plan_plot FILE.svg

In: the lines of a benchmark, of which the last is its JSON. Out: one SVG of two graphs.
"""

import sys
from pathlib import Path

from bench._plot import Graph, Line, Point, Values, picture, values_of

POOLS = (40, 400, 1_000, 2_000, 4_000)
BELOW = "pools"


def graphs(values: Values) -> list[Graph]:
    """Time and memory of a solve by pools. Raises KeyError for a case that was not measured."""

    def by_pools(name: str, unit: str) -> list[Point]:
        return [(pools, values[name.format(pools), unit]["p50"]) for pools in POOLS]

    return [
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
