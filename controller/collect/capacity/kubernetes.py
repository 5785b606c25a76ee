"""Kubernetes: which pods of a pool are ready, on nodes that are ready. Pure; ``watching`` does the requests.

A pool's capacity is the pods that match its labels and are ready, times the units/s of one. These are the
words of the API server: a pod that it does not name is no longer there. But labels that match no pod at all
state nothing, because a label that was changed looks just so.

Kubernetes marks the pods of a node that it does not hear (Ready is ``Unknown``) as not ready. If it does not
hear most of the nodes at once, it is more likely that it is cut off from them than that all of them are dead
(its own rule for evictions is the same). Their pods then count as if they were ready.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Literal, NamedTuple, TypeAlias
from urllib.parse import quote, urlencode

from msgspec import Meta, Struct

from controller.collect.capacity.capacity_collector import (
    POOLS_MAX,
    CapacityCollector,
    Positive,
    Slots,
    twice_named,
)
from controller.collect.collector import JSON_TYPES, Findings, Request, Stamp, UnreadableError
from controller.collect.feeds.parts import Part, document, text
from controller.core.policy.check import Fault, Path
from controller.core.policy.policy import Endpoint
from tieline.event_fields import PoolId
from tieline.events import PoolCapacity

LIST_PAGE = 500
OBJECTS_MAX = 50_000
SILENT_SHARE_MAX = 0.5
Resource: TypeAlias = Literal["pods", "nodes"]
Label = Annotated[str, Meta(pattern=r"^[A-Za-z0-9]([A-Za-z0-9._/-]{0,250}[A-Za-z0-9])?\Z")]
LabelSelector = Annotated[str, Meta(max_length=1_000)]


class PodGroup(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A pool and the ``labels`` of its pods, all of which a pod must have. ``units_per_s_per_replica``: what
    one pod can serve."""

    pool: PoolId
    labels: Annotated[dict[Label, str], Meta(min_length=1, max_length=20)]
    units_per_s_per_replica: Positive
    concurrency_per_replica: Slots | None = None


class Pod(NamedTuple):
    """What counts of a pod: the indexes of the groups that it matches, its node, whether it is ready, and
    whether it is being deleted."""

    groups: tuple[int, ...]
    node: str
    is_ready: bool
    is_leaving: bool


class Cluster(NamedTuple):
    """What is known of a cluster. ``pods`` by name, as far as they match a group. ``nodes``: by name the
    status of each one's condition Ready. ``versions``: the resource version to go on from, by resource."""

    pods: dict[str, Pod]
    nodes: dict[str, str]
    versions: dict[Resource, str]


class Kubernetes(CapacityCollector, frozen=True, kw_only=True, tag="kubernetes"):
    """The pods of one namespace. ``url``: the API server; inside a cluster ``https://kubernetes.default.svc``
    with ``ca_file`` and ``bearer`` from the service account's files. ``pod_selector`` and ``node_selector``:
    label selectors that narrow what is listed and watched. ``nodes``: whether nodes are watched too, which
    needs a cluster role."""

    url: Endpoint
    namespace: Annotated[str, Meta(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\Z")]
    pods: Annotated[tuple[PodGroup, ...], Meta(min_length=1, max_length=POOLS_MAX)]
    pod_selector: LabelSelector = ""
    node_selector: LabelSelector = ""
    nodes: bool = True
    interval_s: Annotated[float, Meta(ge=1, le=300)] = 15.0

    def urls(self) -> Iterator[tuple[Path, str]]:
        """See ``Collector``."""
        yield ("url",), self.url

    def named_pools(self) -> Iterator[tuple[Path, PoolId]]:
        """See ``CapacityCollector``."""
        for place, entry in enumerate(self.pods):
            yield ("pods", place, "pool"), entry.pool

    def faults(self) -> Iterator[Fault]:
        """See ``Collector``."""
        yield from super().faults()
        yield from twice_named(self.named_pools())

    def resources(self) -> tuple[Resource, ...]:
        """What is listed and watched."""
        return ("pods", "nodes") if self.nodes else ("pods",)

    def requests(self) -> tuple[Request, ...]:
        """The first page of each list."""
        return tuple(self.page(resource) for resource in self.resources())

    def page(self, resource: Resource, continuing: str = "") -> Request:
        """A page of a list: the first, or the one after the token ``continuing``."""
        query = {"limit": str(LIST_PAGE)} | ({"continue": continuing} if continuing else {})
        return self._request(resource, query)

    def watch(self, resource: Resource, version: str, seconds: int) -> Request:
        """A watch from a version on, which the server ends after so many seconds."""
        query = {
            "watch": "1",
            "allowWatchBookmarks": "true",
            "resourceVersion": version,
            "timeoutSeconds": str(seconds),
        }
        return self._request(resource, query)

    def _request(self, resource: Resource, query: dict[str, str]) -> Request:
        path = f"/api/v1/namespaces/{self.namespace}/pods" if resource == "pods" else "/api/v1/nodes"
        selector = self.pod_selector if resource == "pods" else self.node_selector
        query |= {"labelSelector": selector} if selector else {}
        url = f"{self.url.rstrip('/')}{path}?{urlencode(query, quote_via=quote)}"
        return Request(url, JSON_TYPES)

    def read(self, bodies: tuple[bytes, ...], stamp: Stamp) -> Findings:
        """What the first pages say. Only a command that looks once asks this: ``watching`` reads them all."""
        cluster = Cluster({}, {}, {})
        for resource, body in zip(self.resources(), bodies, strict=True):
            if self.take_page(cluster, resource, body):
                raise UnreadableError(f"there are more than {LIST_PAGE} {resource}: set a label selector")
        return self.findings(cluster, stamp)

    def take_page(self, cluster: Cluster, resource: Resource, body: bytes) -> str:
        """Takes a page of a list in. Returns the token of the next page, empty after the last one."""
        page = document(body)
        items = page.get("items") if isinstance(page, Mapping) else None
        metadata = page.get("metadata") if isinstance(page, Mapping) else None
        if not isinstance(metadata, Mapping) or not text(metadata, "resourceVersion"):
            raise UnreadableError(f"the body is no list of {resource}")
        # The API server writes an empty list as null in some versions.
        for item in _objects(items if items is not None else []):
            self.take(cluster, resource, item)
        cluster.versions[resource] = text(metadata, "resourceVersion")
        return text(metadata, "continue")

    def take(self, cluster: Cluster, resource: Resource, item: Part, *, is_deleted: bool = False) -> None:
        """Takes one object in, or out. Raises ``UnreadableError`` for one without a name."""
        metadata = item.get("metadata")
        name = text(metadata, "name") if isinstance(metadata, Mapping) else ""
        if not isinstance(metadata, Mapping) or not name:
            raise UnreadableError(f"one of the {resource} has no name")
        if resource == "nodes":
            cluster.nodes.pop(name, None)
            if not is_deleted:
                cluster.nodes[name] = _condition(item)
        else:
            cluster.pods.pop(name, None)
            if not is_deleted and (pod := self._pod(item, metadata)) is not None:
                cluster.pods[name] = pod
        if len(cluster.pods) + len(cluster.nodes) > OBJECTS_MAX:
            raise UnreadableError(f"there are more than {OBJECTS_MAX} pods and nodes: set label selectors")

    def _pod(self, item: Part, metadata: Part) -> Pod | None:
        """A pod that matches a group; None for any other."""
        labels = metadata.get("labels")
        if not isinstance(labels, Mapping):
            return None
        groups = tuple(
            place
            for place, entry in enumerate(self.pods)
            if all(labels.get(name) == value for name, value in entry.labels.items())
        )
        if not groups:
            return None
        spec = item.get("spec")
        node = text(spec, "nodeName") if isinstance(spec, Mapping) else ""
        is_leaving = metadata.get("deletionTimestamp") is not None
        return Pod(groups, node, is_ready=_condition(item) == "True", is_leaving=is_leaving)

    def findings(self, cluster: Cluster, stamp: Stamp) -> Findings:
        """What is known, as events. Raises ``UnreadableError`` if no pod matches any group."""
        ready = [0] * len(self.pods)
        matching = [0] * len(self.pods)
        is_cut_off = _is_cut_off(cluster)
        for pod in cluster.pods.values():
            node = cluster.nodes.get(pod.node, "True")
            serves = (pod.is_ready and node == "True") or (is_cut_off and node == "Unknown")
            for place in pod.groups:
                matching[place] += 1
                ready[place] += serves and not pod.is_leaving
        pools = [
            _capacity(entry, count)
            for entry, count, most in zip(self.pods, ready, matching, strict=True)
            if most
        ]
        if not pools:
            raise UnreadableError("no pod has the labels of any pool")
        unmatched = frozenset(
            f"no pod has the labels of {entry.pool}"
            for entry, most in zip(self.pods, matching, strict=True)
            if not most
        )
        return Findings(self.capacities(pools, stamp), unmatched)


def _capacity(entry: PodGroup, replicas: int) -> PoolCapacity:
    concurrency = entry.concurrency_per_replica
    return PoolCapacity(
        pool=entry.pool,
        limit_units_per_s=replicas * entry.units_per_s_per_replica,
        concurrency=None if concurrency is None else replicas * concurrency,
    )


def _objects(items: object) -> Iterable[Part]:
    if not isinstance(items, list) or not all(isinstance(item, Mapping) for item in items):
        raise UnreadableError("the list has items that are no objects")
    return items


def _is_cut_off(cluster: Cluster) -> bool:
    """Whether Kubernetes does not hear more than half of the nodes that have a pod."""
    nodes = {pod.node for pod in cluster.pods.values() if pod.node in cluster.nodes}
    silent = sum(cluster.nodes[node] == "Unknown" for node in nodes)
    return silent > SILENT_SHARE_MAX * len(nodes)


def _condition(item: Part) -> str:
    """The status of the object's condition Ready: True, False or Unknown; empty without one."""
    status = item.get("status")
    conditions = status.get("conditions") if isinstance(status, Mapping) else None
    for entry in conditions if isinstance(conditions, list) else ():
        if isinstance(entry, Mapping) and entry.get("type") == "Ready":
            return text(entry, "status")
    return ""
