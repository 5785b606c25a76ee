"""Worker processes of a command end with it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

PROGRAM = """
import os, time
from lab.workers import workers
pool = workers(2)
first = pool.submit(os.getpid)
pool.submit(time.sleep, 600)
print(first.result(), pool.submit(os.getppid).result(), flush=True)
time.sleep(600)
"""
ENDS_WITHIN_S = 30


def is_there(pid: int) -> bool:
    """Whether a process of this number exists and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_workers_end_when_their_command_is_killed() -> None:
    """Also those that wait for work, and without a word to them."""
    with subprocess.Popen([sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, text=True) as command:
        assert command.stdout is not None
        worker, parent = map(int, command.stdout.readline().split())
        assert parent == command.pid
        assert is_there(worker)
        os.kill(command.pid, signal.SIGKILL)
        command.wait()
    ends_s = time.monotonic() + ENDS_WITHIN_S
    while is_there(worker):
        assert time.monotonic() < ends_s, "the worker is still there"
