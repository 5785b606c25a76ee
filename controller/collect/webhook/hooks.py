"""The section ``webhook`` of the collectors' file: where to listen, and the hooks with their settings."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, ClassVar, TypeAlias

from msgspec import Meta, Struct, field

from controller.collect.webhook.alert_book import AlertState
from controller.core.policy.check import Fault, near_miss
from controller.core.policy.policy import Policy
from controller.process.secret_places import Secret
from tieline.event_fields import Name, Scope
from tieline.events import Statement, in_scope
from tieline.registration import SENDERS

SECRET_MIN_CHARACTERS = 16

SentName = Annotated[str, Meta(min_length=1, max_length=300)]
Places: TypeAlias = Annotated[tuple[Scope, ...], Meta(max_length=200)]


class Hook(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind"):
    """What every kind has.

    ``name``: the last part of its path and, of all kinds but ``cloudevents``, the source under which it
    speaks, as the policy registers it. ``secret``: what callers must show; it may be replaced while the
    process runs, because it is read anew for every request.
    """

    is_source: ClassVar[bool] = True

    name: Name
    secret: Secret
    body_max_bytes: Annotated[int, Meta(ge=1_024, le=8 * 1024 * 1024)] = 1024 * 1024

    def places(self) -> Iterator[tuple[tuple[str | int, ...], str]]:
        """Every place that the settings name, with the path of its field."""
        yield from ()


class AlertHook(Hook, frozen=True, kw_only=True):
    """A hook whose alerts become statements. ``expires_after_s``: for how long a claim counts after it was
    pushed last, which must be longer than the sender's time of repetition."""

    expires_after_s: Annotated[float, Meta(ge=60, le=604_800)] = 21_600.0


class AlertmanagerHook(AlertHook, frozen=True, kw_only=True, tag="alertmanager"):
    """Prometheus's Alertmanager. ``provider_label``, ``region_label``, ``pool_label``: labels of an alert
    that hold a provider, a region, and a whole pool id or a deployment. ``region_names`` and
    ``provider_names``: the labels' values where they differ from the policy's names. ``states``: what an
    alert claims, by the value of ``severity_label``; alerts of other severities are left out.
    ``alert_places``: what alerts without those labels are about, by the value of the label ``alertname``.
    """

    provider_label: SentName = "provider"
    region_label: SentName = "region"
    pool_label: SentName = "pool"
    severity_label: SentName = "severity"
    provider_names: dict[SentName, Scope] = {}
    region_names: dict[SentName, Scope] = {}
    states: dict[SentName, AlertState] = field(
        default_factory=lambda: {"critical": "down", "warning": "degraded"}
    )
    alert_places: dict[SentName, Places] = {}

    def places(self) -> Iterator[tuple[tuple[str | int, ...], str]]:
        """See ``Hook``."""
        yield from _numbered("alert_places", self.alert_places)


class PagerDutyHook(AlertHook, frozen=True, kw_only=True, tag="pagerduty"):
    """PagerDuty's webhook subscriptions (v3) and the Events API v2. ``services``: what an incident is about,
    by the id or the name of its service; of an event of the Events API by its ``component``, ``group`` or
    ``source``. ``states``: what it claims, by urgency (v3: high, low) or severity (Events API: critical,
    error, warning, info). Other values are left out."""

    services: Annotated[dict[SentName, Places], Meta(min_length=1, max_length=1_000)]
    states: dict[SentName, AlertState] = field(
        default_factory=lambda: {"high": "degraded", "critical": "degraded", "error": "degraded"}
    )

    def places(self) -> Iterator[tuple[tuple[str | int, ...], str]]:
        """See ``Hook``."""
        yield from _numbered("services", self.services)


class StatuspageHook(AlertHook, frozen=True, kw_only=True, tag="statuspage"):
    """A Statuspage that one has subscribed to by webhook. ``components``: what a component stands for, by its
    id or name. ``incidents``: what an incident stands for that lists no component; empty leaves it out."""

    components: Annotated[dict[SentName, Places], Meta(min_length=1, max_length=1_000)]
    incidents: Places = ()

    def places(self) -> Iterator[tuple[tuple[str | int, ...], str]]:
        """See ``Hook``."""
        yield from _numbered("components", self.components)
        yield from _numbered("incidents", {"": self.incidents})


class CloudEventsHook(Hook, frozen=True, kw_only=True, tag="cloudevents"):
    """Takes Tieline's own events. ``sources``: the sources that its callers may speak for."""

    is_source: ClassVar[bool] = False

    sources: Annotated[tuple[Name, ...], Meta(min_length=1, max_length=1_000)]


AnyHook: TypeAlias = AlertmanagerHook | PagerDutyHook | StatuspageHook | CloudEventsHook


class WebhookSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where to listen, as ``ADDRESS:PORT``, with ``certificate`` and ``key`` for TLS; and the hooks.
    ``requests_per_s``: of one address."""

    listen: Annotated[str, Meta(min_length=3, max_length=200)]
    hooks: Annotated[tuple[AnyHook, ...], Meta(min_length=1, max_length=200)]
    certificate: str = ""
    key: str = ""
    requests_per_s: Annotated[float, Meta(gt=0, le=10_000)] = 20.0


def webhook_faults(
    settings: WebhookSettings, policy: Policy | None, collectors: Sequence[str]
) -> Iterator[Fault]:
    """What is wrong with the settings that their types can't say, by the path of the field. ``collectors``:
    the names that collectors have, under which no hook may speak."""
    if bool(settings.certificate) != bool(settings.key):
        yield Fault(("key",), "give both certificate and key, or neither")
    names = [hook.name for hook in settings.hooks]
    for number, hook in enumerate(settings.hooks):
        path = ("hooks", number)
        if names.index(hook.name) < number:
            yield Fault((*path, "name"), f"{hook.name} is already hooks[{names.index(hook.name)}]")
        if hook.is_source and hook.name in collectors:
            yield Fault((*path, "name"), f"{hook.name} is already a collector: one source has one of both")
        if isinstance(hook.secret, str) and len(hook.secret) < SECRET_MIN_CHARACTERS:
            yield Fault((*path, "secret"), f"needs at least {SECRET_MIN_CHARACTERS} characters")
        if policy is not None:
            for fault in _policy_faults(hook, policy):
                yield Fault((*path, *fault.path), fault.text)


def _policy_faults(hook: Hook, policy: Policy) -> Iterator[Fault]:
    sources = {source.id: source for source in policy.sources}
    if isinstance(hook, CloudEventsHook):
        for number, name in enumerate(hook.sources):
            if name not in sources:
                text = f"the policy has no such source{near_miss(name, sources)}"
                yield Fault(("sources", number), text)
        return
    source = sources.get(hook.name)
    if source is None:
        yield Fault(("name",), f"the policy has no such source{near_miss(hook.name, sources)}")
        return
    if source.kind not in SENDERS[Statement]:
        choices = " or ".join(SENDERS[Statement])
        text = f"the policy's source is of the kind {source.kind}; a statement comes from {choices}"
        yield Fault(("name",), text)
    existing = _places_in(policy)
    for path, place in hook.places():
        if place not in existing:
            yield Fault(path, f"the policy has nothing at {place}{near_miss(place, existing)}")
        elif not in_scope(place, source.scope):
            yield Fault(path, f"the policy lets this source speak of {source.scope} only")


def _places_in(policy: Policy) -> set[str]:
    pools = {pool.id for pool in policy.pools}
    regions = {f"{pool.provider}/{pool.region}" for pool in policy.pools}
    return pools | regions | {provider.id for provider in policy.providers}


def _numbered(
    field: str, places: Mapping[str, tuple[str, ...]]
) -> Iterator[tuple[tuple[str | int, ...], str]]:
    for name, entries in places.items():
        for number, place in enumerate(entries):
            yield ((field, name, number) if name else (field, number)), place
