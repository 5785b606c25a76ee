"""PURE. Where a request may go that refers to a provider's state: to the pool that holds it, and to those
that share its endpoint and credential, as they see the same state.
"""

import re
from collections.abc import Collection, Mapping

from msgspec import Struct

from tieline._request.body import Body
from tieline._request.memory import Holders
from tieline._request.references import ids_in_answer, read_path
from tieline._request.reply import Opening
from tieline._routing.route import Route, Shed
from tieline._routing.router import Router
from tieline.providers.streams import StreamReader

IDS_NAMED_MAX = 3
ID_MAX_CHARACTERS = 80
_UNPRINTABLE = re.compile(r"[^!-~]")


class Ties(Struct, frozen=True):
    """``pools``: which pool holds each id that the request refers to, as far as that is known here.
    ``bound``: no more than one pool may serve it; ``seeks``: which one is not known."""

    pools: Mapping[str, str]
    bound: bool = False
    seeks: bool = False

    @property
    def pool(self) -> str | None:
        """The pool that the request is meant for; None where any may be asked."""
        return next(iter(self.pools.values()), None)

    @property
    def text(self) -> str:
        """Which pool holds what, in words; "" for nothing."""
        names = list(self.pools)[:IDS_NAMED_MAX]
        return ", ".join(f"{_printable(name)} is held by {self.pools[name]}" for name in names)


FREE = Ties({})


def ties_of(body: Body, holders: Holders, router: Router, *, origin: str) -> Ties:
    """The ties of a request that refers to what some pool holds. One whose holder is not known goes by
    weight, and on to another pool only if one says that it does not have it."""
    pools = holders.pools_of(body.refers)
    if not pools:
        return Ties(pools, bound=True, seeks=True)
    first = next(iter(pools.values()))
    other = router.holder(first, body.model, exclude=(first,), origin=origin)
    return Ties(pools, bound=isinstance(other, Shed))


def route_of(
    ties: Ties, router: Router, *, model: str, exclude: Collection[str], origin: str | None
) -> Route | Shed:
    """The route of a request with a known holder; where there is none the answer says who holds what."""
    assert ties.pool is not None
    choice = router.holder(ties.pool, model, exclude=exclude, origin=origin)
    if isinstance(choice, Route):
        return choice
    return Shed(choice.reason, f"{choice.text}: {ties.text}", choice.retry_after_ms, why=choice.why)


def ids_to_learn(body: Body, path: str, opening: Opening) -> tuple[str, ...]:
    """What the pool of a good answer holds: what the request referred to, and what later ones may."""
    answer_ids = (opening.answer_id,) if body.keeps and opening.answer_id else ()
    whole = opening.whole
    inner_ids = ids_in_answer(read_path(path).words, whole) if whole else ()
    return body.refers + answer_ids + inner_ids + ids_in_stream(path, opening.reader)


def ids_in_stream(path: str, reader: StreamReader | None) -> tuple[str, ...]:
    """What a stream has said so far that the pool holds: ids of its events, and of the whole answer where its
    last event repeats that."""
    if reader is None:
        return ()
    whole = reader.whole
    return tuple(reader.audio_ids) + (ids_in_answer(read_path(path).words, whole) if whole else ())


def _printable(name: str) -> str:
    return _UNPRINTABLE.sub("?", name[:ID_MAX_CHARACTERS])
