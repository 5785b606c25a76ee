"""How good decisions are where capacity is short: `script/bench quality_scarce`.

The worlds and the products of `quality` (bench/quality.py) under one and a half times the demand. The other
products do not tell critical load from the rest, so what they can't serve is lost in equal parts. The
promises are those of `quality`.
"""

import sys
from collections.abc import Iterator

from bench._frame import Case, run
from bench._quality_worlds import NAMES, incident_world, with_more_demand
from bench.quality import compare

FACTOR = 1.5


def measure() -> Iterator[Case]:
    """The six incidents under more demand."""
    incidents = (with_more_demand(incident_world(name), FACTOR) for name in NAMES)
    yield from compare(incidents)


if __name__ == "__main__":
    sys.exit(run("quality_scarce", measure))
