"""How good decisions are where every provider refuses burst: `script/bench quality_refused`.

The worlds and the products of `quality` (bench/quality.py), but each pool really gives only what is
committed, whatever its limit in the policy and every statement say. Nobody is told: 429 answers alone show
it. The promises are those of `quality`.
"""

import sys
from collections.abc import Iterator

from bench._frame import Case, run
from bench._quality_worlds import NAMES, incident_world, with_burst_refused
from bench.quality import compare


def measure() -> Iterator[Case]:
    """The six incidents without any burst."""
    yield from compare(with_burst_refused(incident_world(name)) for name in NAMES)


if __name__ == "__main__":
    sys.exit(run("quality_refused", measure))
