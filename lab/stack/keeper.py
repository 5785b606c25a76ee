"""Runs one server and never outlives its starter: a program of its own, standard library only.

    python -I -S keeper.py LOG COMMAND...

Standard input is a pipe that only the starter holds: when it ends, however the starter died and whichever
of its threads started us, the server is killed. Linux kills the server if the keeper is killed first.
The first line on standard output is the server's process id. Exits with the server's status.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import subprocess
import sys

PR_SET_PDEATHSIG = 1


def die_with_keeper() -> None:
    """Asks Linux to kill this process when the thread that started it ends: the keeper has only one."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def start(log: str, command: list[str]) -> subprocess.Popen[bytes]:
    """Starts `command` in a session of its own, so that ^C at a terminal reaches only the starter."""
    with open(log, "ab") as output:  # noqa: PTH123 (importing pathlib costs more than the rest of this program)
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            preexec_fn=die_with_keeper if sys.platform == "linux" else None,
        )


def main(log: str, *command: str) -> int:
    """Keeps `command` until it ends or the starter is gone."""
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    server = start(log, list(command))
    print(server.pid, flush=True)
    while server.poll() is None:
        readable, _, _ = select.select([sys.stdin.fileno(), woken], [], [])
        if woken in readable:
            os.read(woken, 4096)
        elif not os.read(sys.stdin.fileno(), 4096):
            server.kill()
            return server.wait()
    return server.returncode


if __name__ == "__main__":
    os._exit(main(*sys.argv[1:]) & 0xFF)
