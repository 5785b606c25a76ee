"""Quotas of providers: what every kind of them has. Pure.

A quota counts something for a pool, or for a quota group of the policy. The file says what one of its count
is: 1 of Azure's is 1,000 tokens a minute, so ``units: 1000`` and ``per_s: 60``. Several entries for one pool
or group are added up, such as the regional quotas of a group.

A region is stated only if every quota that the file names for it was there and could be read. An event
replaces the one before it, so one that leaves a group out would lift that group's limit.
"""

from abc import abstractmethod
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, Literal, NamedTuple, TypeAlias
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from msgspec import Meta, Struct

from controller.collect.capacity.capacity_collector import (
    FIGURE_MAX,
    POOLS_MAX,
    CapacityCollector,
    NamedGroup,
    Positive,
    StatedGroup,
    figure_of,
)
from controller.collect.collector import JSON_TYPES, Findings, Request, Stamp, UnreadableError
from controller.collect.feeds.parts import document
from controller.core.policy.check import Fault, Path
from tieline.event_fields import Name, PoolId, ProviderId
from tieline.events import GroupCapacity, PoolCapacity, pool_of

UNLIMITED = float("inf")
QuotaFigure: TypeAlias = Literal["units", "requests", "concurrency"]
Place = Annotated[
    str,
    Meta(
        pattern=r"^(https?://[^\s@$\{\}]+|file:///[^\s?#]+)\Z",
        max_length=2_000,
        description="an http(s) address without user, password or variables, or file:///path",
    ),
]


class Quota(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One quota: ``quota`` is the provider's name of it, ``dimensions`` what narrows it, such as a region.

    It counts for ``pool``, or for ``group`` in the ``region`` of the policy. ``figure``: whether it limits
    load, requests, or requests in flight. ``units``: how much one of its count is, in ``per_s`` seconds (for
    requests in flight ``per_s`` means nothing).
    """

    quota: Annotated[str, Meta(min_length=1, max_length=300)]
    dimensions: Annotated[dict[str, str], Meta(max_length=20)] = {}
    pool: PoolId | Literal[""] = ""
    group: Name | Literal[""] = ""
    region: ProviderId | Literal[""] = ""
    figure: QuotaFigure = "units"
    units: Positive = 1.0
    per_s: Positive = 60.0


class _Target(NamedTuple):
    """What a quota counts for: a pool or a group, in a region."""

    pool: str
    group: str
    region: str


class Quotas(CapacityCollector, frozen=True, kw_only=True):
    """What every kind of quota has. ``url``: the provider's API, or ``file:///path`` of a file with the same
    JSON, which somebody else writes; one that was not written for ``file_age_max_s`` is not read."""

    url: Place
    provider: ProviderId
    quotas: Annotated[tuple[Quota, ...], Meta(min_length=1, max_length=POOLS_MAX)]
    interval_s: Annotated[float, Meta(ge=5, le=86_400)] = 300.0
    expires_after_s: Annotated[float, Meta(ge=10, le=86_400)] = 3_600.0
    file_age_max_s: Annotated[float, Meta(ge=10, le=2_592_000)] = 3_600.0

    @abstractmethod
    def count(self, answer: Any, quota: Quota) -> float | None:
        """The count of a quota in the provider's answer, ``UNLIMITED`` for one without a limit; None if it
        is not there or makes no sense. Pure."""

    def urls(self) -> Iterator[tuple[Path, str]]:
        """See ``Collector``."""
        yield ("url",), self.url

    def requests(self) -> tuple[Request, ...]:
        """See ``Collector``."""
        return (Request(self.url, JSON_TYPES, self.file_age_max_s),)

    def named_pools(self) -> Iterator[tuple[Path, PoolId]]:
        """See ``CapacityCollector``."""
        for place, entry in enumerate(self.quotas):
            if entry.pool:
                yield ("quotas", place, "pool"), entry.pool

    def named_groups(self) -> Iterator[NamedGroup]:
        """See ``CapacityCollector``."""
        for place, entry in enumerate(self.quotas):
            if entry.group:
                yield NamedGroup(("quotas", place, "group"), entry.group, self.provider)

    def faults(self) -> Iterator[Fault]:
        """See ``Collector``."""
        yield from super().faults()
        regions: dict[str, str] = {}
        with_units = {_target(entry) for entry in self.quotas if entry.figure == "units"}
        for place, entry in enumerate(self.quotas):
            path: Path = ("quotas", place)
            if bool(entry.pool) == bool(entry.group) or bool(entry.group) != bool(entry.region):
                yield Fault(path, "give either pool, or group and region")
            elif _target(entry) not in with_units:
                yield Fault(path, "nothing limits its units: an entry with the figure units is missing")
            if entry.pool and pool_of(entry.pool)[0] != self.provider:
                yield Fault((*path, "pool"), f"{entry.pool} is no pool of {self.provider}")
            if entry.group and regions.setdefault(entry.group, entry.region) != entry.region:
                text = f"{entry.group} is stated in {regions[entry.group]} already: all need one region"
                yield Fault((*path, "region"), text)

    def read(self, bodies: tuple[bytes, ...], stamp: Stamp) -> Findings:
        """See ``Collector``."""
        answer = joined([document(body) for body in bodies])
        figures: dict[_Target, dict[QuotaFigure, float]] = defaultdict(dict)
        missing: dict[str, _Target] = {}
        for entry in self.quotas:
            target = _target(entry)
            amount = self._amount(answer, entry)
            if amount is None:
                missing[entry.quota] = target
            elif amount != UNLIMITED or entry.figure == "units":
                own = figures[target]
                own[entry.figure] = min(own.get(entry.figure, 0.0) + amount, FIGURE_MAX)
        silent = {target.region for target in missing.values()}
        whole = {target: own for target, own in figures.items() if target.region not in silent}
        if not whole:
            raise UnreadableError(f"the answer says nothing about {next(iter(missing))[:100]}")
        pools = [_pool_capacity(target.pool, own) for target, own in whole.items() if target.pool]
        events = self.capacities(pools, stamp, self._groups(whole))
        return Findings(events, frozenset(f"the answer has no {name}" for name in missing), len(missing))

    def _amount(self, answer: Any, entry: Quota) -> float | None:
        """What a quota allows, in units/s, requests/s or requests."""
        count = self.count(answer, entry)
        if count is None:
            return None
        if count == UNLIMITED:
            # A pool's stated limit stands in the place of the policy's, so that one may not be endless.
            return None if entry.pool and entry.figure == "units" else UNLIMITED
        amount = count * entry.units
        return amount if entry.figure == "concurrency" else amount / entry.per_s

    def _groups(self, figures: dict[_Target, dict[QuotaFigure, float]]) -> Iterable[StatedGroup]:
        for target, own in figures.items():
            if target.group:
                slots = own.get("concurrency")
                capacity = GroupCapacity(
                    group=target.group,
                    limit_units_per_s=own["units"],
                    requests_per_s=own.get("requests"),
                    concurrency=None if slots is None else int(slots),
                )
                yield StatedGroup(self.provider, target.region, capacity)


def joined(pages: list[Any]) -> Any:
    """The pages of an answer as one: lists are put together, of everything else the first page's counts."""
    if all(isinstance(page, list) for page in pages):
        return [entry for page in pages for entry in page]
    if len(pages) == 1 or not all(isinstance(page, Mapping) for page in pages):
        return pages[0]
    first: dict[str, Any] = dict(pages[0])
    for page in pages[1:]:
        for field, value in page.items():
            if isinstance(value, list) and isinstance(first.setdefault(field, []), list):
                first[field] = [*first[field], *value]
    return first


def with_parameters(url: str, **parameters: str) -> str:
    """The URL with these parameters in its query, in the place of any of the same name."""
    parts = urlsplit(url)
    query = [(name, value) for name, value in parse_qsl(parts.query, True) if name not in parameters]
    return urlunsplit(parts._replace(query=urlencode([*query, *parameters.items()])))


def count_of(value: object) -> float | None:
    """A count as providers write it: a number, or a text that is one. A negative one has no limit."""
    number = figure_of(value)
    if number is None and isinstance(value, int | str) and str(value).strip().startswith("-"):
        return UNLIMITED if figure_of(str(value).strip()[1:]) is not None else None
    return number


def _target(entry: Quota) -> _Target:
    region = pool_of(entry.pool)[1] if entry.pool else entry.region
    return _Target(entry.pool, entry.group, region)


def _pool_capacity(pool: str, figures: dict[QuotaFigure, float]) -> PoolCapacity:
    slots = figures.get("concurrency")
    return PoolCapacity(
        pool=pool,
        limit_units_per_s=figures["units"],
        requests_per_s=figures.get("requests"),
        concurrency=None if slots is None else int(slots),
    )
