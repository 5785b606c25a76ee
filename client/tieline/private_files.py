"""Files that hold private keys: one rule says who may be able to read them.

The file belongs to the user of the process, and nobody else has any access to it: its mode is 600 or less. A
file that belongs to root may also be readable for its group, with a mode of 640 or less, because that is how
Kubernetes and systemd hand a secret to a process that does not run as root. PostgreSQL has the same rule for
the keys of its servers and clients (`ssl_key_file`, and `sslkey` of libpq).

The rule holds for the keys that operators, controllers and sources sign with, for the key of overlays, and
for the TLS keys of Tieline's own processes. Windows has no such modes, so nothing is checked there.
Tests: tests/unit/client/test_private_files.py.
"""

import stat
import sys
from pathlib import Path

from tieline.errors import ConfigurationError

ROOT = 0
OTHERS_BITS, GROUP_READS_BIT = 0o077, 0o040
FILE_BYTES_MAX = 64 * 1024


def is_private(mode: int, owner: int) -> bool:
    """Whether nobody else can get at a file with these permissions of this owner (a user id)."""
    allowed = GROUP_READS_BIT if owner == ROOT else 0
    return mode & OTHERS_BITS & ~allowed == 0


def read_private_file(path: Path) -> bytes:
    """The first 64 KiB of a file with a private key, which may be a link to one. Raises ConfigurationError
    where it can't be read or others can get at it; the text names the file and the command that helps, and
    repeats nothing of what is in it."""
    try:
        status = path.stat()
        if sys.platform != "win32" and not is_private(status.st_mode, status.st_uid):
            raise ConfigurationError(
                f"other users of this machine can get at the key in {path} "
                f"(mode {stat.S_IMODE(status.st_mode):o}): run `chmod 600 {path}`"
            )
        with path.open("rb") as file:
            return file.read(FILE_BYTES_MAX)
    except OSError as error:
        raise ConfigurationError(f"{path} can't be read: {error.strerror}") from None
