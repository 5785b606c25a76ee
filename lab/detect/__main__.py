"""``python -m lab.detect [--docs]``: tries every case on an embedded stack, and prints the table. With
``--docs`` it also writes it into docs/probing.md. Exit status 1 if a case came out otherwise than stated."""

import asyncio
import sys
import tempfile
from pathlib import Path

from lab.detect.cases import CASES
from lab.detect.run import Detection, detect
from lab.detect.table import table, write
from lab.stack.stack import Stack

PAGE = Path(__file__).parents[2] / "docs" / "probing.md"
NAMESPACE = "detect"


async def detect_all() -> list[Detection]:
    """Every case, on a stack of its own."""
    stack = await Stack.start()
    try:
        with tempfile.TemporaryDirectory() as directory:
            return await detect(
                CASES,
                kafka=stack.kafka_bootstrap,
                redis=stack.redis_url,
                namespace=NAMESPACE,
                directory=Path(directory),
            )
    finally:
        await stack.stop()


def main(arguments: list[str]) -> int:
    """Returns the exit status."""
    detections = asyncio.run(detect_all())
    sys.stdout.write(table(detections))
    if "--docs" in arguments:
        write(detections, PAGE)
    others = [detection for detection in detections if not detection.is_as_stated]
    for detection in others:
        states = [pool.states for pool in detection.pools]
        sys.stderr.write(f"{detection.case.name}: stated {detection.case.worst}, found {states}\n")
    return 1 if others else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
