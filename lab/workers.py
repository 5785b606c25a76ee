"""Processes that share the work of a command and end with it, however it ends.

``ProcessPoolExecutor`` alone leaves its processes behind when their parent is killed: each waits for work on
a pipe whose other end the others hold open as well.
"""

import os
import threading
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context, parent_process


def workers(count: int) -> ProcessPoolExecutor:
    """So many processes, as an executor. Each is a new interpreter, so nothing of this one counts there."""
    return ProcessPoolExecutor(count, mp_context=get_context("spawn"), initializer=_end_with_parent)


def _end_with_parent() -> None:
    threading.Thread(target=_await_its_end, name="parent", daemon=True).start()


def _await_its_end() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
