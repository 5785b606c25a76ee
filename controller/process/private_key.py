"""The private Ed25519 key of an operator, from a file that nobody else can read. It is never shown or logged.

The file is unencrypted PEM (PKCS #8), as `tieline keys new` and `openssl genpkey -algorithm ed25519` write
it. It may be a link into a directory of secrets, as long as only its owner can read it.
"""

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from controller.process.errors import UserError
from tieline.errors import MissingExtraError
from tieline.signatures import decode_private_key

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

FILE_MODE = 0o600
KEY_BYTES_MAX = 64 * 1024


def read_private_key(path: Path) -> "Ed25519PrivateKey":
    """The key in this file. Raises ``UserError``, whose text has nothing of what is in the file."""
    try:
        key = decode_private_key(_read(path))
    except MissingExtraError:
        raise UserError("cryptography is not installed: pip install 'tieline[overlay]'") from None
    if key is None:
        raise UserError(
            f"{path} is not an unencrypted Ed25519 private key in PEM: make one with `tieline keys new`"
        )
    return key


def write_new_private_key(path: Path) -> "Ed25519PrivateKey":
    """Makes a key and writes it into a new file that only its owner can read. Raises ``UserError``, also
    where the file exists: a key is never overwritten."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    key = Ed25519PrivateKey.generate()
    data = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, FILE_MODE), "wb") as file:
            file.write(data)
    except FileExistsError:
        raise UserError(f"{path} exists already, and a key is never overwritten: name another file") from None
    except OSError as error:
        raise UserError(f"{path} can't be written: {error.strerror}") from None
    return key


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            if os.name == "posix" and mode & 0o077:
                raise UserError(
                    f"other users of this machine can get at the key in {path} (mode {mode:o}): "
                    f"run `chmod 600 {path}`"
                )
            return file.read(KEY_BYTES_MAX)
    except OSError as error:
        raise UserError(f"{path} can't be read: {error.strerror}") from None
