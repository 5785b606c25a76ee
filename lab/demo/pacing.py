"""PURE: when a caller sends its requests, to whom they belong, and what they ask."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from msgspec import Struct

from lab.standins.wire import CHARACTERS_PER_TOKEN

LATE_MAX_S = 0.5
PROMPT = "the tie-line carries "
GOLDEN_RATIO = 0.618033988749895


class Share(Struct, frozen=True):
    """The part of the requests that belongs to one workload and origin, in any unit common to all parts."""

    workload: str
    origin: str
    share: float
    model: str


def in_proportion(shares: Sequence[Share]) -> Iterator[Share]:
    """The shares over and over, in an order in which every stretch is close to the mix.

    Each step credits every share with its part of one request, and picks the one with the largest credit.
    """
    total = sum(share.share for share in shares)
    credit = [0.0] * len(shares)
    while True:
        for index, share in enumerate(shares):
            credit[index] += share.share / total
        largest = max(range(len(shares)), key=lambda index: credit[index])
        credit[largest] -= 1.0
        yield shares[largest]


def is_streamed(serial: int, stream_share: float) -> bool:
    """Whether the request with this serial number is streamed: a share of them, evenly spread.

    Multiples of the golden ratio, modulo 1, fill the interval evenly from the first few on.
    """
    return (serial * GOLDEN_RATIO) % 1.0 < stream_share


def anchored(began_s: float, offset_s: float, now_s: float) -> float:
    """When the replay began, for the request that is due ``offset_s`` after it.

    If this process stood still, the beginning moves by as much. Otherwise everything that was due meanwhile
    would be sent at once. No users do that, and pools would be right to refuse it.
    """
    late_s = now_s - began_s - offset_s
    return began_s + late_s if late_s > LATE_MAX_S else began_s


def prompt(tokens: int) -> str:
    """A prompt of that many tokens, at four characters each."""
    characters = tokens * CHARACTERS_PER_TOKEN
    return (PROMPT * (characters // len(PROMPT) + 1))[:characters]
