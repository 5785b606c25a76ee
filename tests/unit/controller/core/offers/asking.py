"""A policy that asks for capacity, plans that are short, and decisions one after another: for tests."""

from collections.abc import Iterable

from msgspec.structs import replace

from controller.core.model.dispatch_plan import Plan, Shortfall, Target
from controller.core.model.memory import Memory
from controller.core.offers.flow import OfferInputs, Offers, next_offers
from controller.core.policy.compiled import CompiledPolicy, compile_policy
from controller.core.policy.offer_rules import OfferRules
from controller.core.policy.policy import Policy, Provider, Source
from controller.core.snapshot import LoggedAnswer
from tests.unit.controller.core.made import NOW_MS, policy, pool, workload
from tieline.events import Command
from tieline.offers import OfferAnswer, OfferedCapacity, OfferRequest
from tieline.table import MILLION

MINUTE_MS = 60_000
RULES = OfferRules(
    short_for_ms=2 * MINUTE_MS,
    enough_for_ms=3 * MINUTE_MS,
    again_after_ms=60 * MINUTE_MS,
    holder_answers_within_ms=10 * MINUTE_MS,
    others_answer_within_ms=20 * MINUTE_MS,
    needed_for_ms=600 * MINUTE_MS,
)
SOURCES = (
    Source("liaison", "quota"),
    Source("azure-fleet", "fleet", scope="azure"),
    Source("pages", "status"),
)


def asking_policy(rules: OfferRules | None = RULES, *, holder: str | None = "azure") -> Policy:
    """Pools of azure, gcp and oci in eu, and of azure in us. ``chat`` may use them all, ``api`` only azure's.
    oci is only observed."""
    rules_of_law = policy(
        (pool("azure/a"), pool("gcp/b"), pool("oci/c"), pool("azure/u", geography="us")),
        (workload("chat"), workload("api", exclusive="azure")),
        sources=SOURCES,
        headroom=0.8,
    )
    providers = tuple(
        Provider(item.id, mode="observe" if item.id == "oci" else "act") for item in rules_of_law.providers
    )
    return replace(rules_of_law, providers=providers, first_refusal=holder, offers=rules)


def plan(
    *shortfalls: Shortfall, shed: int = 0, made_ms: int = NOW_MS, grown: tuple[Shortfall, ...] = ()
) -> Plan:
    """A plan with these shortfalls, in which ``shed`` millionths of the first route are turned away."""
    targets = (Target(0, (0,), (MILLION - shed,), shed=shed),)
    return Plan("version", "inputs", made_ms, targets, shortfalls=shortfalls, grown=grown)


def short_by(units: float, *, lost: str = "oci", geographies: tuple[str, ...] = ("eu",)) -> Shortfall:
    """Load of chat that would have no room."""
    return Shortfall(lost, geographies, ("chat/eu",), units_per_s=units)


SHORT = plan(short_by(80))
ENOUGH = plan()


class Flowing:
    """Decides again and again at instants that the test names, in minutes since the first."""

    def __init__(self, rules: Policy | None = None) -> None:
        self.compiled: CompiledPolicy = compile_policy(rules or asking_policy())
        self.memory = Memory()
        self.offers = Offers((), (), (), None)

    def at(
        self,
        minutes: float,
        last_plan: Plan | None = SHORT,
        *,
        answers: Iterable[LoggedAnswer] = (),
        commands: tuple[Command, ...] = (),
        declined: frozenset[int] = frozenset(),
    ) -> tuple[OfferRequest, ...]:
        """The requests after the decision at that minute."""
        now_ms = NOW_MS + round(minutes * MINUTE_MS)
        inputs = OfferInputs(last_plan, [1_000.0, 0.0], tuple(answers), commands=commands, declined=declined)
        self.offers = next_offers(self.compiled, self.memory, inputs, now_ms)
        self.memory = Memory(offers=self.offers.requests, short=self.offers.short)
        return self.offers.requests

    @property
    def only(self) -> OfferRequest:
        """The one request that there is."""
        (request,) = self.memory.offers
        return request


def given(
    pool_name: str = "azure/a/d", units: float = 100, *, at: float = 3, until: float | None = None
) -> OfferedCapacity:
    """Capacity from and until minutes since the first decision; None: as asked."""
    return OfferedCapacity(
        pool_name,
        units,
        from_ms=NOW_MS + round(at * MINUTE_MS),
        until_ms=None if until is None else NOW_MS + round(until * MINUTE_MS),
    )


def answer(
    request: OfferRequest,
    provider: str,
    *offered: OfferedCapacity,
    source: str = "liaison",
    at: float = 3,
) -> LoggedAnswer:
    """An answer by ``source``, appended at that minute; a refusal if nothing is offered."""
    at_ms = NOW_MS + round(at * MINUTE_MS)
    return LoggedAnswer(at_ms, OfferAnswer(source, provider, request.id, "one", 1, at_ms, offered))


def order(request: OfferRequest, scope: str, offered: OfferedCapacity | None = None) -> Command:
    """An operator's answer, in force."""
    return Command(
        "cmd-1",
        "decline" if offered is None else "accept",
        scope,
        actor="kim",
        reason="the account manager called",
        issued_ms=NOW_MS + 3 * MINUTE_MS,
        expires_ms=NOW_MS + 100 * MINUTE_MS,
        offer=request.id,
        offered=offered,
    )
