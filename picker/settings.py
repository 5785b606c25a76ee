"""The file of `tieline picker`: which requests belong to which workload and origin, and where pools are.

All mistakes are told at once, each with its line, its field and the remedy.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

import msgspec
from msgspec import Meta, Struct

from controller.process.errors import SettingError, UserError
from controller.process.listening import Listen, read_listen
from controller.yaml_reading import UnreadableFileError, checked_document, read_file
from tieline.event_fields import Name, PoolId

EXAMPLE = "examples/picker.yaml"
LISTEN_EXPECTED = "expected ADDRESS:PORT, such as 127.0.0.1:9002 or 0.0.0.0:9002"
FieldPath: TypeAlias = tuple[str | int, ...]
HeaderName = Annotated[
    str, Meta(pattern=r"^[a-z0-9][a-z0-9-]{0,99}\Z", description="a header's name in lower case")
]
IpPort = Annotated[str, Meta(max_length=100, description="ip:port, such as 10.1.4.11:8000 or [fd00::1]:8000")]


class Rule(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Requests whose ``headers`` all have these values, and whose path begins with ``path_prefix``, are of
    this workload and origin. ``model``: what a request asks for that names no model."""

    workload: Name
    origin: Name
    headers: dict[HeaderName, str] = {}
    path_prefix: str = ""
    model: str = ""


class PickerFile(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a file says.

    ``listen``: where Envoy reaches the picker; with ``certificate`` and ``key`` over TLS, and
    with ``client_ca`` only by those who show a certificate of this authority. ``tables``: where
    they come from in the place of Redis: ``https://`` of `tieline web`, or a last good file. ``last_good``:
    a directory that keeps the last tables over restarts. ``routes``: the first rule that fits a request
    counts.

    ``destination``: ``endpoint``: Envoy sends a request to an address (the endpoint picker protocol);
    ``pool``: Envoy routes by the header x-tieline-pool. ``endpoints``: the addresses of a pool's replicas;
    those of other pools are looked up by the host in the table, anew every ``resolve_every_s``.
    ``fallbacks``: how many other pools are named for Envoy's own retries.

    ``model_header``, ``session_header``: where a request names its model and its conversation.
    ``output_units``: the load of an answer, as an estimate; that of a prompt is taken from its length.
    ``body_max_bytes``: the largest body that is read. ``drain_s``: how long after SIGTERM requests are still
    picked for. ``streams_max``: how many requests may be open at once.
    """

    listen: str
    certificate: str = ""
    key: str = ""
    client_ca: str = ""
    tables: str = ""
    last_good: str = ""
    routes: Annotated[tuple[Rule, ...], Meta(min_length=1, max_length=200)]
    destination: Literal["endpoint", "pool"] = "endpoint"
    endpoints: dict[PoolId, Annotated[tuple[IpPort, ...], Meta(min_length=1, max_length=1_000)]] = {}
    resolve_every_s: Annotated[float, Meta(ge=0.1, le=3_600)] = 5.0
    fallbacks: Annotated[int, Meta(ge=0, le=5)] = 1
    model_header: HeaderName = "x-gateway-model-name"
    session_header: HeaderName = "x-tieline-session"
    output_units: Annotated[float, Meta(ge=0, le=1e6)] = 256.0
    body_max_bytes: Annotated[int, Meta(ge=1_024, le=256 * 1024 * 1024)] = 16 * 1024 * 1024
    drain_s: Annotated[float, Meta(ge=0, le=3_600)] = 5.0
    streams_max: Annotated[int, Meta(ge=1, le=1_000_000)] = 10_000


def load_picker_file(path: Path, *, listen: str = "") -> PickerFile:
    """The checked contents of a file. ``listen`` takes the place of the file's address. Raises ``UserError``
    with a line for each mistake."""
    if listen:
        read_listen(listen)
    try:
        file = parse_picker_file(read_file(path), name=str(path))
        return msgspec.structs.replace(file, listen=listen) if listen else file
    except UnreadableFileError as error:
        raise UserError(str(error)) from None


def parse_picker_file(data: bytes | str, *, name: str = "picker.yaml") -> PickerFile:
    """The checked contents of YAML text; ``name`` stands for the file. Raises ``UserError``."""
    return checked_document(
        data,
        PickerFile,
        name=name,
        example=EXAMPLE,
        faults=_faults,
    )


def listen_of(file: PickerFile) -> Listen:
    """Where a checked file says that the picker listens, and by which certificate."""
    certificate, key = (Path(name) if name else None for name in (file.certificate, file.key))
    return read_listen(file.listen, certificate, key, setting="listen")


def is_endpoint(text: str) -> bool:
    """Whether it is ``ip:port``, as Envoy wants it: no name, and IPv6 in brackets."""
    place = _place_of(text)
    return place is not None and place.host != "localhost" and place.port > 0 and text == place.address


def _place_of(text: str) -> Listen | None:
    try:
        return read_listen(text)
    except SettingError:
        return None


def _faults(file: PickerFile) -> Iterator[tuple[FieldPath, str]]:
    if _place_of(file.listen) is None:
        yield ("listen",), LISTEN_EXPECTED
    if bool(file.certificate) != bool(file.key):
        yield ("key" if file.certificate else "certificate",), "give both certificate and key, or neither"
    if file.client_ca and not file.certificate:
        yield ("client_ca",), "certificates are shown over TLS: give certificate and key as well"
    for pool, endpoints in file.endpoints.items():
        for place, endpoint in enumerate(endpoints):
            if not is_endpoint(endpoint):
                yield (
                    ("endpoints", pool, place),
                    f"expected ip:port, got {endpoint!r}; names go into the policy",
                )
    if file.endpoints and file.destination == "pool":
        yield ("endpoints",), "with destination pool Envoy has the addresses: leave endpoints out"
    for place, rule in enumerate(file.routes[:-1]):
        if not rule.headers and not rule.path_prefix:
            text = "this rule fits every request, so those after it never count: put it last"
            yield ("routes", place), text
