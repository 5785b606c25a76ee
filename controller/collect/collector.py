"""What a collector is: its settings as the file has them, the requests of a round, and what their answers
say.

A kind of collector is one frozen struct that inherits from ``Collector``, or from ``OneUrl`` if it fetches
one URL, and is listed in ``kinds``. Its fields are its settings. It holds no state and does no I/O:
``rounds`` sends its requests and its events, and keeps for it what the next round must know of this one.
"""

from abc import abstractmethod
from collections.abc import Iterator
from typing import Annotated, ClassVar, Literal, NamedTuple, TypeAlias

from msgspec import Meta, Struct

from controller.core.policy.check import Fault, Path
from controller.core.policy.policy import Endpoint, Policy
from controller.process.secret_places import Secret
from tieline.event_fields import Name
from tieline.events import Capacity, Report, Statement

JSON_TYPES = ("application/json", "text/json")
XML_TYPES = ("application/rss+xml", "application/atom+xml", "application/xml", "text/xml")
BODY_MAX_BYTES = 16 * 1024 * 1024

Collected: TypeAlias = Report | Statement | Capacity
HostName = Annotated[str, Meta(pattern=r"^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?\Z", description="a host name")]


class UnreadableError(ValueError):
    """A body is not what it should be. ``str()`` says in one sentence what is wrong with it."""


class Request(NamedTuple):
    """One GET of a round. ``accepts``: the media types that its answer may have. ``age_max_s``: for a
    ``file:///`` URL, how long ago the file may have been written."""

    url: str
    accepts: tuple[str, ...]
    age_max_s: float = 0.0


class Page(NamedTuple):
    """The body of one answer. ``following``: what its header ``opc-next-page`` says of the page after it."""

    body: bytes
    following: str = ""


class Stamp(NamedTuple):
    """What every event of a round carries. ``now_ms``: when its bodies were read. ``memory``: that of the
    last good round's ``Findings``, None before the first."""

    source: str
    incarnation: str
    sequence: int
    now_ms: int
    memory: object = None


class Findings(NamedTuple):
    """What the bodies of a round say. ``unmatched``: names in them that the settings map to nothing.
    ``unread``: parts that could not be read; the others count nevertheless. ``memory``: what the next round
    must know of this one, such as counters."""

    events: tuple[Collected, ...]
    unmatched: frozenset[str] = frozenset()
    unread: int = 0
    memory: object = None


class Identity(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``kind``: whose identity. ``scope``: what a token of ``entra`` or ``google`` is for; empty: the
    management of Azure, or Google's cloud platform. ``file`` and ``profile``: Oracle's configuration file."""

    kind: Literal["entra", "google", "oci"]
    scope: Annotated[str, Meta(max_length=500)] = ""
    file: Annotated[str, Meta(max_length=1_000)] = "~/.oci/config"
    profile: Annotated[str, Meta(min_length=1, max_length=100)] = "DEFAULT"


class Collector(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind"):
    """The settings that every kind has.

    ``name``: the source under which it speaks, as the policy registers it. ``jitter``: the share by which a
    wait is shortened or prolonged at random. ``timeout_s``: for a whole request, redirects and body included.
    ``redirect_hosts``: hosts to which an answer may redirect. ``addresses``: addresses or networks that it
    may reach although they are not public, such as ``10.1.2.0/24``. ``ca_file``: certificate authorities, in
    PEM, in the place of the system's. ``authorization``, ``bearer`` (a token alone, as a file has it) and
    ``headers`` are sent to the host of the request's own URL only; they are read anew in every round, so that
    a token that was replaced is noticed. So is what shows its ``identity`` to a provider's API.

    ``partial``: whether ``read`` takes an empty body in the place of one that could not be fetched. Then a
    round fails only if every request does.
    """

    sends: ClassVar[tuple[type[Collected], ...]] = (Statement,)
    partial: ClassVar[bool] = False

    name: Name
    interval_s: Annotated[float, Meta(ge=1, le=86_400)] = 60.0
    jitter: Annotated[float, Meta(ge=0, le=0.5)] = 0.1
    timeout_s: Annotated[float, Meta(gt=0, le=300)] = 20.0
    body_max_bytes: Annotated[int, Meta(ge=1_024, le=64 * 1024 * 1024)] = BODY_MAX_BYTES
    redirect_hosts: Annotated[tuple[HostName, ...], Meta(max_length=20)] = ()
    addresses: Annotated[tuple[str, ...], Meta(max_length=100)] = ()
    ca_file: str = ""
    authorization: Secret = ""
    bearer: Secret = ""
    headers: dict[str, Secret] = {}
    identity: Identity | None = None

    @abstractmethod
    def urls(self) -> Iterator[tuple[Path, str]]:
        """Every URL of the settings, each with the path of its field. Only their hosts are asked."""

    @abstractmethod
    def requests(self) -> tuple[Request, ...]:
        """The requests of a round, in their order."""

    def request_at(self, request: Request, now_ms: int) -> Request:  # noqa: ARG002 (see ``GoogleQuotas``)
        """The request as it is sent at ``now_ms``, for an API that wants to be told the time."""
        return request

    def next_page(self, url: str, page: Page) -> str:  # noqa: ARG002 (see the providers' quotas)
        """The URL of the page after this one of ``url``; empty after the last. Raises ``UnreadableError``."""
        return ""

    @abstractmethod
    def read(self, bodies: tuple[bytes, ...], stamp: Stamp) -> Findings:
        """What the answers to the requests say, in the order of the requests and of their pages. Pure.

        Raises ``UnreadableError`` when they say nothing at all; then no event is sent.
        """

    def faults(self) -> Iterator[Fault]:
        """What is contradictory in these settings, by the path of the field."""
        yield from ()

    def policy_faults(self, policy: Policy) -> Iterator[Fault]:  # noqa: ARG002 (a kind overrides it)
        """What these settings name that the policy does not have."""
        yield from ()


class OneUrl(Collector, frozen=True, kw_only=True):
    """A collector that fetches one URL with JSON. ``url``: what is fetched."""

    url: Endpoint

    def urls(self) -> Iterator[tuple[Path, str]]:
        """See ``Collector``."""
        yield ("url",), self.url

    def requests(self) -> tuple[Request, ...]:
        """See ``Collector``."""
        return (Request(self.url, JSON_TYPES),)
