"""The child process: ``python -m lab.standins CONFIG [--parent-pid PID]``; ``-`` is standard input.

Prints one JSON line (``config.ReadyInfo``) when every port listens, serves until SIGTERM or SIGINT, and dies
with its parent when one is named.
"""

import ctypes
import os
import signal
import sys
from pathlib import Path

_PR_SET_PDEATHSIG = 1


def die_with_parent(parent_pid: int) -> None:
    """Ask the kernel for SIGKILL when the parent's spawning thread goes (Linux; elsewhere: nothing)."""
    if not sys.platform.startswith("linux"):
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:  # gone before the kernel was asked
        sys.exit(1)


def main(arguments: list[str]) -> int:
    """Exit status 0 after a clean stop, 2 when the configuration or a port can't be used."""
    if len(arguments) == 3 and arguments[1] == "--parent-pid" and arguments[2].isdigit():
        die_with_parent(int(arguments[2]))
    elif len(arguments) != 1:
        sys.stderr.write("usage: python -m lab.standins CONFIG [--parent-pid PID]\n")
        return 2
    # structlog would load rich for a traceback printer that this process never uses: half of its start time.
    sys.modules.setdefault("rich", None)  # type: ignore[arg-type]
    from lab.standins import config, serve

    try:
        place = arguments[0]
        configs = (
            config.parse(sys.stdin.read(), "standard input") if place == "-" else config.read(Path(place))
        )
        if len(configs) != 1:
            raise config.ConfigError(f"{place} describes several processes; this command runs one.")
        serve.serve(configs[0])
    except (config.ConfigError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
