"""The controllers' own signatures: the key that this process signs with, and the keys that it accepts.

A controller that has a private key (TIELINE_SIGNING_KEY_FILE) signs what it writes to the routes log, to the
leader log and into Redis. A process that has public keys (TIELINE_CONTROLLER_KEYS_FILE, one PEM or several)
takes only what one of them signed: a record of anybody else changes nothing and raises an alarm. The two are
separate, so that signing can be introduced and keys replaced while everything runs: first all sign, then all
check (docs/operating.md). What is signed is stated in ``tieline.signatures``.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from controller.process.errors import SettingError, UserError
from controller.process.private_key import read_private_key
from tieline.errors import ConfigurationError
from tieline.order_signing import key_name
from tieline.signatures import (
    NO_KEYS,
    SIGNATURE_HEADER,
    PublicKeys,
    SignedRecord,
    public_keys,
    record_parts,
    sign_manifest,
    sign_parts,
    signature_flaw,
    signature_in,
)

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

SIGNING_KEY_FILE, CONTROLLER_KEYS_FILE = "TIELINE_SIGNING_KEY_FILE", "TIELINE_CONTROLLER_KEYS_FILE"
UNSIGNED_TABLES = (
    f"UNSIGNED TABLES: whoever can write to Kafka or Redis can forge them (set {SIGNING_KEY_FILE})"
)
UNCHECKED_RECORDS = (
    "UNCHECKED RECORDS: this controller signs, and follows records of others that are not signed "
    f"(set {CONTROLLER_KEYS_FILE})"
)
RecordHeaders = list[tuple[str, bytes]]


@dataclass(frozen=True, slots=True)
class Seal:
    """``private``: what is written is signed with it, or with nothing. ``accepted``: what is read must be
    signed by one of these; with none of them everything is taken."""

    private: "Ed25519PrivateKey | None" = field(default=None, repr=False)
    accepted: PublicKeys = field(default_factory=dict)

    def sealed(
        self, kind: bytes, topic: str, key: bytes, *, value: bytes, headers: Iterable[tuple[str, bytes]]
    ) -> RecordHeaders:
        """The headers of a record that is to be written, with its signature if there is a key."""
        plain = list(headers)
        if self.private is None:
            return plain
        signature = sign_parts(self.private, *record_parts(kind, topic, key, value, plain))
        return [*plain, (SIGNATURE_HEADER, signature.encode())]

    def flaw(self, kind: bytes, topic: str, record: SignedRecord) -> str:
        """Why a record must not be believed; empty if it may be."""
        if not self.accepted:
            return ""
        parts = record_parts(kind, topic, record.key, record.value or b"", record.headers)
        flaw = signature_flaw(signature_in(record.headers), self.accepted, *parts)
        return f"it is {flaw}" if flaw else ""

    def manifest_signature(self, namespace: str, manifest: bytes) -> str:
        """The signature of a table that is projected; empty without a key."""
        if self.private is None:
            return ""
        return sign_manifest(self.private, manifest, namespace)

    @property
    def notice(self) -> str:
        """What a person should know about it; empty if this process signs and checks."""
        if self.private is None:
            return UNSIGNED_TABLES
        return "" if self.accepted else UNCHECKED_RECORDS


NO_SEAL = Seal()


def read_accepted(path: Path | None) -> PublicKeys:
    """The public keys in the file of TIELINE_CONTROLLER_KEYS_FILE; none without a file. Raises
    SettingError."""
    if path is None:
        return NO_KEYS
    try:
        return public_keys([path], CONTROLLER_KEYS_FILE)
    except ConfigurationError as error:
        raise SettingError(str(error)) from None


def controller_seal(signing_key: Path | None, controller_keys: Path | None) -> Seal:
    """How a controller signs and checks. Raises ``UserError`` for keys with which it would not believe
    itself."""
    accepted = read_accepted(controller_keys)
    if signing_key is None:
        if accepted:
            raise UserError(
                f"{CONTROLLER_KEYS_FILE} is set and {SIGNING_KEY_FILE} is not: a controller that checks "
                "signatures must sign itself: set both, or sign first and check later"
            )
        return NO_SEAL
    private = read_private_key(signing_key)
    name = key_name(private.public_key().public_bytes_raw())
    if accepted and name not in accepted:
        raise UserError(
            f"{SIGNING_KEY_FILE}: its key {name} is not among those in {controller_keys}, so no controller "
            f"would believe this one: add its public key there (`openssl pkey -pubout -in {signing_key}`)"
        )
    return Seal(private, accepted)
