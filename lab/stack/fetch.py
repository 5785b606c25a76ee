"""`python -m lab.stack.fetch`: fetches and checks Kafka's jars, so that the first start need not."""

from __future__ import annotations

import sys

from lab.stack.cache import cache_directory
from lab.stack.errors import StackError
from lab.stack.jars import ensure_jars


def main() -> int:
    """Progress and errors go to standard error. Returns the exit status."""
    try:
        ensure_jars(cache_directory(), lambda progress: print(progress, file=sys.stderr, flush=True))
    except StackError as error:
        print(f"tieline: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
