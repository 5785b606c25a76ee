"""Totals of what each provider was sent, by day: how they grow, which record counts, and sums. Pure."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime

import msgspec
from msgspec import Struct

from controller.core.inspect.spend import ProviderRate, ProviderUse, period_of
from controller.core.policy.policy import Policy
from tieline.errors import UNDECODABLE

DAY_MS = 86_400_000
GAP_MAX_MS = 3_600_000
TOTALS_MAX = 50_000  # a day of a provider each: two years of as many providers as a policy may have
USAGE_TYPE = "tieline.usage.v1"


class DayUse(Struct, frozen=True, omit_defaults=True):
    """What ``provider`` was sent on the day (UTC) that begins at ``day_ms``: units, and what they are worth
    at the policy's prices. ``metered_ms``: how much of the day that covers; ``until_ms``: up to when.
    ``epoch``: of the leader that wrote it."""

    provider: str
    day_ms: int
    units: float
    money: float
    metered_ms: int
    until_ms: int
    epoch: int

    @property
    def key(self) -> str:
        """``azure/2026-11-27``: the key of the record."""
        return f"{self.provider}/{datetime.fromtimestamp(self.day_ms / 1_000, UTC):%Y-%m-%d}"


_encoder = msgspec.msgpack.Encoder(order="deterministic")
_decoder = msgspec.msgpack.Decoder(DayUse)


def encode_use(use: DayUse) -> bytes:
    """The total as bytes."""
    return _encoder.encode(use)


def decode_use(data: bytes | None) -> DayUse | None:
    """The total in these bytes; None for bytes that are no such record."""
    try:
        return _decoder.decode(data or b"")
    except UNDECODABLE:
        return None


class Tally:
    """The newest total of each provider and day; beyond ``TOTALS_MAX`` the oldest day is forgotten.
    ``unwritten``: keys of those that have grown since they were last written."""

    def __init__(self) -> None:
        self.totals: dict[str, DayUse] = {}
        self.unwritten: set[str] = set()
        self._epoch = -1
        self._since_ms = 0
        self._rates: Mapping[str, ProviderRate] = {}

    def take(self, use: DayUse) -> None:
        """A record of the topic. It counts unless a newer one of its provider and day is known."""
        known_use = self.totals.get(use.key)
        if known_use is None or (use.epoch, use.until_ms) > (known_use.epoch, known_use.until_ms):
            self.totals[use.key] = use
            self._keep_bounded()

    def _keep_bounded(self) -> None:
        if len(self.totals) > TOTALS_MAX:
            oldest = min(self.totals.values(), key=lambda use: use.day_ms)
            del self.totals[oldest.key]
            self.unwritten.discard(oldest.key)

    def begin(self, epoch: int) -> None:
        """This controller leads now: what it meters is of this epoch, from where the last record ends."""
        self._epoch, self._rates = epoch, {}
        self._since_ms = max((use.until_ms for use in self.totals.values()), default=0)

    def meter(self, rates: Mapping[str, ProviderRate], at_ms: int) -> None:
        """From now on each provider is sent so much; adds what it was sent up to now."""
        before = self._rates or rates
        if 0 < at_ms - self._since_ms <= GAP_MAX_MS:
            for from_ms, to_ms in _by_day(self._since_ms, at_ms):
                for provider in before:
                    self._add(provider, before[provider], from_ms, to_ms)
        self._rates, self._since_ms = rates, max(at_ms, self._since_ms)

    def _add(self, provider: str, rate: ProviderRate, from_ms: int, to_ms: int) -> None:
        day_ms = from_ms - from_ms % DAY_MS
        empty = DayUse(provider, day_ms, 0.0, money=0.0, metered_ms=0, until_ms=from_ms, epoch=self._epoch)
        use = self.totals.get(empty.key, empty)
        seconds = (to_ms - from_ms) / 1_000
        self.totals[use.key] = DayUse(
            provider,
            day_ms,
            use.units + rate.units_per_s * seconds,
            money=use.money + rate.money_per_s * seconds,
            metered_ms=use.metered_ms + to_ms - from_ms,
            until_ms=to_ms,
            epoch=self._epoch,
        )
        self.unwritten.add(use.key)
        self._keep_bounded()

    def used(self, provider: str, from_ms: int, to_ms: int) -> tuple[ProviderUse, int]:
        """(What the provider was sent on the days from ``from_ms`` to ``to_ms``, milliseconds metered)."""
        days = [
            use for use in self.totals.values() if use.provider == provider and from_ms <= use.day_ms < to_ms
        ]
        units, money = sum(use.units for use in days), sum(use.money for use in days)
        return ProviderUse(units, money), sum(use.metered_ms for use in days)

    def used_up(self, policy: Policy, now_ms: int) -> tuple[str, ...]:
        """The providers of which every commitment is used up for its period, sorted."""
        left: set[str] = set()
        committed: set[str] = set()
        for commitment in policy.committed_spend:
            from_ms, to_ms = period_of(commitment, now_ms)
            use, _ = self.used(commitment.provider, from_ms, to_ms)
            committed.add(commitment.provider)
            amount = use.units if commitment.units is not None else use.money
            if from_ms <= now_ms < to_ms and amount < (commitment.units or commitment.money or 0.0):
                left.add(commitment.provider)
        return tuple(sorted(committed - left))


def _by_day(from_ms: int, to_ms: int) -> Iterator[tuple[int, int]]:
    """The stretch cut where days end."""
    while from_ms < to_ms:
        end_ms = min(to_ms, from_ms - from_ms % DAY_MS + DAY_MS)
        yield from_ms, end_ms
        from_ms = end_ms
