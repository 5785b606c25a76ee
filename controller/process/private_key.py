"""The private Ed25519 keys that processes and people sign with, from files that nobody else can read. A key
is never shown or logged.

The file is unencrypted PEM (PKCS #8), as `tieline keys new` and `openssl genpkey -algorithm ed25519` write
it. It may be a link into a directory of secrets. Who may be able to read it: ``tieline.private_files``.
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from controller.process.errors import UserError
from tieline.errors import ConfigurationError, MissingExtraError
from tieline.private_files import read_private_file
from tieline.signatures import decode_private_key

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

SOURCE_KEY_FILE = "TIELINE_SOURCE_KEY_FILE"
FILE_MODE = 0o600


def read_private_key(path: Path) -> "Ed25519PrivateKey":
    """The key in this file. Raises ``UserError``, whose text has nothing of what is in the file."""
    try:
        key = decode_private_key(read_private_file(path))
    except MissingExtraError:
        raise UserError("cryptography is not installed: pip install 'tieline[overlay]'") from None
    except ConfigurationError as error:
        raise UserError(str(error)) from None
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
