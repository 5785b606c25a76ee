"""Runs one program and never lets it outlive the process that asked for it. Uses the standard library only.

    python -I -S keeper.py LOG COMMAND...

`lab.children` starts a keeper for every child and holds the other end of the keeper's standard input. When
that pipe ends, the starter is gone, however it died, and the keeper kills the program. This works from any
thread of the starter and on every system; it also ends a program that is stopped by SIGSTOP. If the keeper
itself is killed, Linux kills the program (PR_SET_PDEATHSIG).

The program's output goes to LOG. The first line on standard output is the program's process id; it is missing
if the program can't be started, and LOG then says why. The keeper ends with the program's own exit status, or
by the signal that ended the program.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import subprocess
import sys

PR_SET_PDEATHSIG = 1
EXIT_NOT_STARTED = 127
UNCATCHABLE = (signal.SIGKILL, signal.SIGSTOP)


def die_with_keeper() -> None:
    """Asks Linux to kill this process when the thread that started it ends: the keeper has only one."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def start(log: str, command: list[str]) -> subprocess.Popen[bytes] | None:
    """Starts `command`, or writes to the log why it can't be started."""
    with open(log, "ab") as output:  # noqa: PTH123 (importing pathlib costs more than the rest of this program)
        try:
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                preexec_fn=die_with_keeper if sys.platform == "linux" else None,
            )
        except OSError as error:
            output.write(f"{command[0]}: {error.strerror}\n".encode())
            return None


def keep(program: subprocess.Popen[bytes], woken: int) -> int:
    """Waits until the program has ended or the starter is gone. Returns the program's status."""
    while program.poll() is None:
        readable, _, _ = select.select([sys.stdin.fileno(), woken], [], [])
        if woken in readable:
            os.read(woken, 4096)
        elif not os.read(sys.stdin.fileno(), 4096):
            program.kill()
            return program.wait()
    return program.returncode


def end_like(status: int) -> None:
    """Ends this process as the program ended: with its exit status, or by its signal if it is negative."""
    if status < 0:
        if -status not in UNCATCHABLE:
            signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    os._exit(status & 0xFF)


def main(log: str, *command: str) -> None:
    """Starts and keeps `command`."""
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGCHLD, lambda *_: None)  # without a handler the end of the program wakes nobody
    program = start(log, list(command))
    if program is None:
        os._exit(EXIT_NOT_STARTED)
    print(program.pid, flush=True)
    end_like(keep(program, woken))


if __name__ == "__main__":
    main(*sys.argv[1:])
