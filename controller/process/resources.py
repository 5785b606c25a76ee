"""What a process runs out of: file descriptors, and room on the disk."""

import resource
import tempfile
from pathlib import Path
from typing import NamedTuple

from controller.process.telemetry import log_failure

DESCRIPTORS_SPARE_MIN = 48  # connections to Kafka and Redis, and the solver's pipes, need about so many
PROBE_BYTES = 64 * 1024


class Shortages(NamedTuple):
    """What this process is short of, each in words with the remedy; empty where there is enough."""

    descriptors: str = ""
    disk: str = ""


def shortages() -> Shortages:
    """What this process is short of now. It reads and writes files, so it takes milliseconds."""
    return Shortages(descriptors_short(), disk_short())


def descriptors_short() -> str:
    """What is wrong with the number of file descriptors, with the remedy; empty when there are enough."""
    most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most == resource.RLIM_INFINITY:
        return ""
    try:
        used = len(list(Path("/proc/self/fd").iterdir()))
    except OSError:
        used = most
    if most - used >= DESCRIPTORS_SPARE_MIN:
        return ""
    return (
        f"{used} of {most} file descriptors are in use, and {DESCRIPTORS_SPARE_MIN} must be free: raise the "
        "limit (ulimit -n, or LimitNOFILE= of the service)"
    )


def disk_short() -> str:
    """What is wrong with the directory for temporary files, with the remedy; empty when it can be written."""
    try:
        with tempfile.TemporaryFile() as file:
            file.write(bytes(PROBE_BYTES))
            file.flush()
    except OSError as error:
        place = tempfile.tempdir or "the directory for temporary files"
        return f"nothing can be written to {place} ({error.strerror}): make room there, or set TMPDIR"
    if why := log_failure():
        return f"the log can't be written ({why}): make room where it is kept"
    return ""
