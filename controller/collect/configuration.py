"""The file of `tieline collect`, read like a policy: all mistakes at once, each with its line and field.

With a policy every name in the file is checked against it as well: sources, providers, regions and pools.
"""

import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from msgspec import Meta, Struct

from controller.collect.addresses import literal, networks
from controller.collect.collector import Collector
from controller.collect.kinds import AnyCollector
from controller.collect.webhook.hooks import WebhookSettings, webhook_faults
from controller.core.policy.check import Fault, near_miss
from controller.core.policy.policy import Policy
from controller.process.errors import UserError
from controller.yaml_reading import UnreadableFileError, checked_document, read_file
from tieline.registration import SENDERS

EXAMPLE = "examples/collectors.yaml"


class CollectorFile(Struct, frozen=True, forbid_unknown_fields=True):
    """What a file says: collectors, which fetch, and a webhook, to which others push."""

    collectors: Annotated[tuple[AnyCollector, ...], Meta(max_length=200)] = ()
    webhook: WebhookSettings | None = None


def load_collectors(path: Path, policy: Policy | None = None) -> CollectorFile:
    """The checked contents of a file. Raises ``UserError`` with a line for each mistake."""
    try:
        return parse_collectors(read_file(path), name=str(path), policy=policy)
    except UnreadableFileError as error:
        raise UserError(str(error)) from None


def parse_collectors(
    data: bytes | str, *, name: str = "collectors.yaml", policy: Policy | None = None
) -> CollectorFile:
    """The checked contents of YAML text; ``name`` stands for the file. Raises ``UserError``."""
    return checked_document(
        data,
        CollectorFile,
        name=name,
        example=EXAMPLE,
        faults=lambda file: ((fault.path, fault.text) for fault in _faults(file, policy)),
    )


def _faults(file: CollectorFile, policy: Policy | None) -> Iterator[Fault]:
    if not file.collectors and file.webhook is None:
        yield Fault(("collectors",), f"name at least one collector, or a webhook; {EXAMPLE} shows both")
    names = [collector.name for collector in file.collectors]
    if file.webhook is not None:
        for fault in webhook_faults(file.webhook, policy, names):
            yield Fault(("webhook", *fault.path), fault.text)
    for place, collector in enumerate(file.collectors):
        path = ("collectors", place)
        if (first := names.index(collector.name)) < place:
            text = f"{collector.name} is already collectors[{first}]: one source has one collector"
            yield Fault((*path, "name"), text)
        for fault in (*_reach_faults(collector), *collector.faults()):
            yield Fault((*path, *fault.path), fault.text)
        if policy is None:
            continue
        for fault in (*_source_faults(collector, policy), *collector.policy_faults(policy)):
            yield Fault((*path, *fault.path), fault.text)


def _reach_faults(collector: Collector) -> Iterator[Fault]:
    """What would keep every request from being sent."""
    for place, text in enumerate(collector.addresses):
        try:
            networks([text])
        except ValueError as error:
            yield Fault(("addresses", place), f"{error}; give an address or a network such as 10.1.2.0/24")
    if collector.ca_file:
        try:
            ssl.create_default_context(cafile=collector.ca_file)
        except (OSError, ssl.SSLError) as error:
            yield Fault(("ca_file",), f"can't be read as certificates in PEM: {error.strerror or error}")
    ways = [bool(way) for way in (collector.authorization, collector.bearer, collector.identity)]
    if sum(ways) > 1:
        yield Fault(("authorization",), "give only one of authorization, bearer and identity")
    if not (any(ways) or collector.headers):
        return
    for path, url in collector.urls():
        parts = urlsplit(url)
        host = literal(parts.hostname or "")
        is_here = host is not None and host.is_loopback
        if parts.scheme == "http" and not is_here:
            yield Fault(path, "a secret is sent over https:// only, or to this machine")


def _source_faults(collector: Collector, policy: Policy) -> Iterator[Fault]:
    """The policy must register the collector as a source of a kind that may send its events."""
    kinds = {source.id: source.kind for source in policy.sources}
    kind = kinds.get(collector.name)
    if kind is None:
        yield Fault(("name",), f"the policy has no such source{near_miss(collector.name, kinds)}")
        return
    for event in collector.sends:
        if kind not in SENDERS[event]:
            what = event.__name__.lower()
            choices = " or ".join(SENDERS[event])
            yield Fault(
                ("name",), f"the policy's source is of the kind {kind}; a {what} comes from {choices}"
            )
