"""A controller that takes in everything, beside others that do the same.

It is the shipped program but for the name of its consumer group, which no other process has. So Kafka gives
it all partitions, and every event is folded by every controller; the compare-and-set of rows lets the first
write of each count. `script/bench takeover` measures it, and docs/decisions/0019 says why it is not shipped.
"""

import os
import sys

from controller import bootstrap
from controller.cli import main
from streams.settings import IngestSettings


class OwnGroup(IngestSettings):
    """The settings of ingestion with a group of this process alone."""

    @property
    def group(self) -> str:
        """The name of the group."""
        return f"{super().group}-{os.getpid()}"


if __name__ == "__main__":
    vars(bootstrap)["IngestSettings"] = OwnGroup
    sys.exit(main())
