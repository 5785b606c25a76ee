"""Secrets that a configuration file names and does not hold."""

from collections.abc import Mapping
from pathlib import Path
from typing import TypeAlias

from msgspec import Struct

from controller.process.errors import UserError

SECRET_BYTES_MAX = 16 * 1024


class SecretPlace(Struct, frozen=True, forbid_unknown_fields=True):
    """Where a secret is: in the environment variable ``env``, in the file that the variable ``env`` with
    ``_FILE`` behind it names, or in ``file``. A file holds nothing else."""

    env: str = ""
    file: str = ""


Secret: TypeAlias = str | SecretPlace


def read_secret(secret: Secret, environment: Mapping[str, str], place: str) -> str:
    """The secret itself. Raises ``UserError``, which begins with ``place`` and repeats nothing of it."""
    if isinstance(secret, str):
        return secret
    if bool(secret.env) == bool(secret.file):
        raise UserError(f"{place}: give either env or file")
    if secret.file:
        return _read_file(secret.file, place)
    if value := environment.get(secret.env, "").strip():
        return value
    if path := environment.get(f"{secret.env}_FILE", "").strip():
        return _read_file(path, place)
    raise UserError(f"{place}: neither {secret.env} nor {secret.env}_FILE is set in the environment")


def _read_file(path: str, place: str) -> str:
    try:
        with Path(path).open("rb") as stream:
            value = stream.read(SECRET_BYTES_MAX).decode().strip()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is not text"
        raise UserError(f"{place}: {path} can't be read: {why}") from None
    if not value:
        raise UserError(f"{place}: {path} is empty")
    return value
