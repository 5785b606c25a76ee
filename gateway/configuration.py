"""The file of `tieline gateway`, read like a policy: all mistakes at once, each with its line and field."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta, Struct

from controller.process.errors import UserError
from controller.process.secret_places import SecretPlace
from controller.yaml_reading import UnreadableFileError, checked_document, read_file
from tieline.event_fields import Name

EXAMPLE = "examples/gateway.yaml"
SHA256_CHARACTERS = 64
_SHA256 = re.compile(r"[0-9a-f]{64}\Z")
_PREFIX = re.compile(r"(/[A-Za-z0-9._-]+)+\Z")
Rate = Annotated[float, Meta(ge=0)]
Seconds = Annotated[float, Meta(ge=0, le=3_600)]
FieldPath = tuple[str | int, ...]


class TlsFiles(Struct, frozen=True, forbid_unknown_fields=True):
    """The PEM files of a certificate chain and of its key."""

    certificate: str
    key: str


class ServedWorkload(Struct, frozen=True, forbid_unknown_fields=True):
    """A workload of the policy. ``origins``: where its requests may start; the first is where they do unless
    a token or a header says otherwise. ``path``: what paths begin with that belong to it, before ``/v1``."""

    workload: Name
    origins: Annotated[tuple[Name, ...], Meta(min_length=1, max_length=100)]
    path: str = ""


class CallerToken(Struct, frozen=True, forbid_unknown_fields=True):
    """A caller. The token itself is not in the file: ``sha256`` is its digest in hex, or ``secret`` names
    where it lies. ``workload`` and ``origin``: where its requests belong, by default the first of the file.
    ``also``: other workloads that they may name. ``requests_per_s``, ``units_per_s``: its limits, 0 for none.
    ``weight``: its part of the workload when that is short."""

    name: Name
    sha256: str = ""
    secret: SecretPlace | None = None
    workload: Name = ""
    origin: Name = ""
    also: tuple[Name, ...] = ()
    requests_per_s: Rate = 0.0
    units_per_s: Rate = 0.0
    weight: Annotated[float, Meta(gt=0)] = 1.0


class CredentialIdentity(Struct, frozen=True, forbid_unknown_fields=True):
    """Who the gateway is to a provider, as the provider's own library finds it on this machine. ``scope``:
    what a token of ``entra`` or ``google`` is for, "" for its models. ``file`` and ``profile``: Oracle's
    configuration file."""

    kind: Literal["entra", "google", "oci"]
    scope: Annotated[str, Meta(max_length=500)] = ""
    file: Annotated[str, Meta(max_length=1_000)] = "~/.oci/config"
    profile: Annotated[str, Meta(min_length=1, max_length=100)] = "DEFAULT"


class PoolCredential(Struct, frozen=True, forbid_unknown_fields=True):
    """A credential that is an identity. ``name``: as the policy names it."""

    name: Annotated[str, Meta(pattern=r"^[A-Za-z0-9._-]{1,96}\Z")]
    identity: CredentialIdentity


class Draining(Struct, frozen=True, forbid_unknown_fields=True):
    """The end, in seconds. ``notice_s``: `/readyz` fails and requests are still taken. ``within_s``: what is
    under way may still end, before it is told."""

    notice_s: Seconds = 5.0
    within_s: Seconds = 60.0


class GatewayFile(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a file says. ``credentials``: those of pools that the environment can't hold. ``tables``: a
    controller's ``https://`` or the path of a last good file, "" for the Redis of ``TIELINE_REDIS``;
    ``tables_token``: the token for that address. ``last_good``: a directory for the last good tables.
    ``workers``: processes, of which each takes up to ``connections_max`` connections. ``access_log``: a file,
    "-" for standard output, "" for none. ``share_holders``: through that Redis, which pool holds what.
    ``tracing``: spans of each request and attempt go to OpenTelemetry's global provider. ``pool_hosts``,
    ``overlay_keys``, ``stream_recovery``: as for the client library."""

    listen: str = "127.0.0.1:8080"
    workloads: Annotated[tuple[ServedWorkload, ...], Meta(min_length=1, max_length=100)]
    tokens: Annotated[tuple[CallerToken, ...], Meta(max_length=10_000)] = ()
    credentials: Annotated[tuple[PoolCredential, ...], Meta(max_length=1_000)] = ()
    tls: TlsFiles | None = None
    tables: str = ""
    tables_token: SecretPlace | None = None
    last_good: str = ""
    share_holders: bool = True
    pool_hosts: tuple[str, ...] = ()
    overlay_keys: tuple[str, ...] = ()
    stream_recovery: Literal["raise", "whole"] = "raise"
    body_max_mib: Annotated[int, Meta(ge=1, le=4_096)] = 256
    connections_max: Annotated[int, Meta(ge=1, le=100_000)] = 4_000
    workers: Annotated[int, Meta(ge=1, le=64)] = 1
    access_log: str = "-"
    tracing: bool = False
    draining: Draining = Draining()

    def origins(self, workload: str) -> tuple[str, ...]:
        """Where requests of the workload may start; empty for one that is not served."""
        return next((served.origins for served in self.workloads if served.workload == workload), ())


def load_gateway(path: Path) -> GatewayFile:
    """The checked contents of a file. Raises ``UserError`` with a line for each mistake."""
    try:
        return parse_gateway(read_file(path), name=str(path))
    except UnreadableFileError as error:
        raise UserError(str(error)) from None


def parse_gateway(data: bytes | str, *, name: str = "gateway.yaml") -> GatewayFile:
    """The checked contents of YAML text; ``name`` stands for the file. Raises ``UserError``."""
    return checked_document(
        data,
        GatewayFile,
        name=name,
        example=EXAMPLE,
        faults=_faults,
    )


def _faults(file: GatewayFile) -> Iterator[tuple[FieldPath, str]]:
    names: dict[str, int] = {}
    prefixes: dict[str, int] = {}
    for number, served in enumerate(file.workloads):
        place = ("workloads", number)
        if (first := names.setdefault(served.workload, number)) < number:
            yield (*place, "workload"), f"{served.workload} is already workloads[{first}]: name it once"
        if not served.path:
            continue
        if not _PREFIX.match(served.path) or served.path.split("/")[1].startswith("v1"):
            yield (*place, "path"), f"{served.path!r} is no prefix: give one such as /batch, which is no /v1"
        elif (first := prefixes.setdefault(served.path, number)) < number:
            yield (*place, "path"), f"{served.path} already leads to {file.workloads[first].workload}"
    for number, token in enumerate(file.tokens):
        for path, text in _token_faults(file, token, number):
            yield ("tokens", number, *path), text
    yield from _credential_faults(file)


def _credential_faults(file: GatewayFile) -> Iterator[tuple[FieldPath, str]]:
    names: dict[str, int] = {}
    for number, entry in enumerate(file.credentials):
        if (first := names.setdefault(entry.name, number)) < number:
            yield (
                ("credentials", number, "name"),
                f"{entry.name} is already credentials[{first}]: name it once",
            )


def _token_faults(file: GatewayFile, token: CallerToken, number: int) -> Iterator[tuple[FieldPath, str]]:
    first = next(place for place, other in enumerate(file.tokens) if other.name == token.name)
    if first < number:
        yield ("name",), f"{token.name} is already tokens[{first}]: give each token a name of its own"
    if bool(token.sha256) == (token.secret is not None):
        yield (), "give either sha256, the digest of the token, or secret, which says where the token is"
    if token.sha256 and not _SHA256.match(token.sha256):
        remedy = "give that of `printf %s TOKEN | sha256sum`"
        yield ("sha256",), f"expected {SHA256_CHARACTERS} characters of 0-9 and a-f: {remedy}"
    served = [each.workload for each in file.workloads]
    uses: list[tuple[FieldPath, str]] = [(("also", place), name) for place, name in enumerate(token.also)]
    for path, name in [(("workload",), token.workload), *uses]:
        if name and name not in served:
            yield path, f"the file serves no workload {name}; it serves {', '.join(served)}"
    origins = file.origins(token.workload or served[0])
    if token.origin and origins and token.origin not in origins:
        workload = token.workload or served[0]
        yield ("origin",), f"{workload} has no origin {token.origin}; it has {', '.join(origins)}"
