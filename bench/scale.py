"""How large an installation may get: `script/bench scale`.

- `ingest`: what one, two and four processes take in that share the partitions, and the processor time that a
  record takes (`_scale_ingest`).
- `table`, `record`, `slice`, ...: how large a publication is, and what it costs the leader, for 400 to 4,000
  pools (`_scale_tables`). What a decision costs is in `script/bench plan`.
- `told`, `idle`: 100, 300 and 1,000 clients of one Redis (`_scale_told`), 300 of a replica and of `tieline
  web`, and 100 of the largest installation.

docs/scale.md says what follows for larger ones. Its plot is drawn from the JSON: `script/bench scale --json |
.venv/bin/python -m bench._scale_plot docs/pictures/scale.svg`.
"""

import asyncio
import sys
from collections.abc import Iterator

import uvloop

from bench._frame import Case, run
from bench._scale_ingest import ingest_cases
from bench._scale_tables import SIZES, settled, table_cases
from bench._scale_told import REPLICA, WEB, told_cases
from controller.process.supervise import collect_seldom

FEW = (100,)
OF_A_RELAY = (300,)


def measure() -> Iterator[Case]:
    """All cases; each group has servers of its own."""
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    yield from ingest_cases()
    collect_seldom()
    records = {size: settled(size) for size in SIZES}
    for size, record in records.items():
        yield from table_cases(size, record)
    smallest, *_, largest = SIZES
    small, large = records[smallest].table, records[largest].table
    assert small is not None
    assert large is not None
    yield from told_cases(smallest, small)
    for via in (REPLICA, WEB):
        yield from told_cases(smallest, small, OF_A_RELAY, via)
    yield from told_cases(largest, large, FEW)


if __name__ == "__main__":
    sys.exit(run("scale", measure))
