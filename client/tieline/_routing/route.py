"""What a pick gives: a ``Route`` to send one request by, or a ``Shed`` that says why there is none."""

from collections.abc import Callable, Collection
from enum import StrEnum
from typing import Protocol

from msgspec import Struct
from msgspec.structs import replace

from tieline.blame import BLAME_OF_RESULT, UNMARKED, Blame
from tieline.events import CONFIGURATION_FAULTS, ResultClass
from tieline.table import Adapter, ModelOffer


class Reason(StrEnum):
    """Why a request goes where it goes, or nowhere."""

    WEIGHTED = "weighted"
    AFFINITY = "affinity"
    FAILOVER = "failover"
    HALF_OPEN = "half_open"  # the one request that finds out whether an ejected pool is back
    HELD = "held"  # the pool holds what the request refers to
    PROVIDER_LOST = "provider_lost"  # the table's on_loss weights apply
    LAST_RESORT = "last_resort"  # no other pool is left: one that the table names for that
    SHED = "shed"  # the table sheds this share of the requests
    NO_TABLE = "no_table"
    NO_ROUTE = "no_route"  # the client follows no such (workload, origin)
    NO_MODEL = "no_model"  # no pool of the route serves the model, or with these needs
    NO_POOL = "no_pool"  # every pool that could is out
    THROTTLED = "throttled"  # every pool that could is out until its Retry-After
    BAD_OPTION = "bad_option"  # a header asks for what can't be; only of answers, never of picks


class Needs(Struct, frozen=True):
    """What a request needs of a model: ``context_tokens``, prompt and answer together (0: any), and
    ``features`` by the policy's names for them (``vision``, ``tools``, ``json``)."""

    context_tokens: int = 0
    features: frozenset[str] = frozenset()


class Outcome(Struct, frozen=True):
    """How one request by a route ended: ``result``, by the classes of docs/events.md. ``units``: the load it
    was, in the policy's unit (default tokens, prompt and answer). ``first_token_ms``: from sending to the
    first output; ``per_token_ms``: the mean of those after it; None: not measured. ``retry_after_ms``: what
    the pool asked for. ``blame``: whom it speaks about, None for what the class alone says. ``subject``: a
    number that tells requests apart where the blame is the request's. ``waited_ms`` of at most ``limit_ms``:
    how long an attempt without an answer was waited for; 0: not measured. ``whole_ms``: from sending to
    the end of an answer that is no stream. ``rate_limit_left``: the share of the provider's limit that was
    left by its answer's headers, 0 to 1; None: they don't say."""

    result: ResultClass
    units: float = 0.0
    first_token_ms: float | None = None
    per_token_ms: float | None = None
    retry_after_ms: int | None = None
    blame: Blame | None = None
    subject: int = 0
    waited_ms: int = 0
    limit_ms: int = 0
    whole_ms: float | None = None
    rate_limit_left: float | None = None

    @property
    def blamed(self) -> Blame:
        """Whom it speaks about."""
        return BLAME_OF_RESULT[self.result] if self.blame is None else self.blame

    @property
    def counted_as(self) -> ResultClass:
        """The class that reports and metrics count. What is only this one request's is no fault of the
        pool's configuration."""
        if self.result in CONFIGURATION_FAULTS and self.blame in UNMARKED:
            return ResultClass.CLIENT_ERROR
        return self.result


class Target(Struct, frozen=True, eq=False):
    """One pool as seen from one route and model, under one generation. ``offer``: what the table says
    of the model there; None for a request that names no model."""

    pool: str
    url: str
    adapter: Adapter
    credential: str
    model: str  # the caller's logical name
    name: str  # the pool's own name for it
    origin: str
    generation: str
    report: Callable[["Target", Outcome], None]
    offer: ModelOffer | None = None


class Route(Struct, frozen=True, eq=False):
    """Where to send one request, and the ``reason`` why there. Immutable and shared: picking allocates
    nothing."""

    target: Target
    reason: Reason

    @property
    def pool(self) -> str:
        """``provider/region/deployment``."""
        return self.target.pool

    @property
    def url(self) -> str:
        """Base URL of the pool's endpoint."""
        return self.target.url

    @property
    def model(self) -> str:
        """The pool's own name for the model."""
        return self.target.name

    @property
    def generation(self) -> str:
        """``lineage:epoch:seq`` of the table that decided."""
        return self.target.generation

    def report(self, outcome: Outcome) -> None:
        """Say how the request ended; call it once a request. The ``outcome`` feeds ejection here and the
        planner there. Never waits; from any thread. Raises ValueError for a result that is no ResultClass."""
        # A plain string equals its member of ResultClass, but other code asks for the member by identity.
        if type(outcome.result) is not ResultClass:
            outcome = replace(outcome, result=ResultClass(outcome.result))
        self.target.report(self.target, outcome)


class Shed(Struct, frozen=True, eq=False):
    """No route for this request. ``text``: a sentence for its caller. ``why`` names each pool that was
    considered with the reason it is out; ``retry_after_ms`` is None when nobody can say. ``fallbacks``:
    routes that may be tried all the same, best first, each at its pool's pace; a client's ``pick`` has done
    so, and leaves none."""

    reason: Reason
    text: str = ""
    retry_after_ms: int | None = None
    why: tuple[str, ...] = ()
    fallbacks: tuple[Route, ...] = ()


class Pick(Protocol):
    """The shape of ``Router.pick``."""

    def __call__(
        self,
        model: str,
        *,
        session: str | None = None,
        needs: Needs | None = None,
        exclude: Collection[str] = (),
    ) -> Route | Shed: ...
