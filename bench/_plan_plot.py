"""Draws how decisions grow: script/bench plan --json | python -m bench._plan_plot reflex|dispatch FILE.svg

In: the lines of a benchmark, of which the last is its JSON. Out: one SVG of two graphs.
"""

import sys
from pathlib import Path

from bench._plot import Graph, Line, Point, Values, picture, values_of

POOLS = (40, 400, 1_000, 2_000, 4_000)
BELOW = "pools"


def reflex_graphs(values: Values) -> list[Graph]:
    """A forced move and the first table by pools. Raises KeyError for a case that was not measured."""
    reflex = "reflex {} pools, processor"
    return [
        Graph(
            "A loaded pool is lost, ms of a processor",
            BELOW,
            [
                Line("p99", _by_pools(values, reflex, "ms", "p99")),
                Line("p50", _by_pools(values, reflex, "ms")),
            ],
        ),
        Graph(
            "The first table, ms of a processor",
            BELOW,
            [Line("measured", _by_pools(values, "first table {} pools, processor", "ms"))],
        ),
    ]


def dispatch_graphs(values: Values) -> list[Graph]:
    """Time and memory of a solve by pools. Raises KeyError for a case that was not measured."""
    return [
        Graph(
            "The whole table solved, ms of a processor",
            BELOW,
            [
                Line("an hour later", _by_pools(values, "dispatch {} pools, processor", "ms")),
                Line(
                    "from merit order",
                    _by_pools(values, "dispatch {} pools, from merit order, processor", "ms"),
                ),
            ],
        ),
        Graph(
            "Peak memory of the process, MB",
            BELOW,
            [Line("from merit order", _by_pools(values, "memory of dispatch {} pools", "MB"))],
        ),
    ]


def _by_pools(values: Values, name: str, unit: str, quantile: str = "p50") -> list[Point]:
    return [(pools, values[name.format(pools), unit][quantile]) for pools in POOLS]


GRAPHS = {"reflex": reflex_graphs, "dispatch": dispatch_graphs}

if __name__ == "__main__":
    Path(sys.argv[2]).write_text(picture(GRAPHS[sys.argv[1]](values_of(sys.stdin.read()))))
