"""Pods that are ready count; what Kubernetes does not hear is no statement."""

import json
from typing import Any

import pytest

from controller.collect.capacity.kubernetes import Cluster, Kubernetes, PodGroup
from controller.collect.collector import UnreadableError
from controller.collect.watching import change_of
from tests.unit.controller.collect.capacity.stamps import FIVE, SIX, limits, stamp, stated


def pod(name: str, ready: str = "True", node: str = "a", app: str = "gpt", **metadata: Any) -> dict[str, Any]:
    """A pod as the API writes it, shortened."""
    return {
        "metadata": {"name": name, "labels": {"app": app, "x": "y"}, "resourceVersion": "7", **metadata},
        "spec": {"nodeName": node},
        "status": {
            "phase": "Running",
            "conditions": [{"type": "PodScheduled", "status": "True"}, {"type": "Ready", "status": ready}],
        },
    }


def node(name: str, ready: str = "True") -> dict[str, Any]:
    """A node as the API writes it, shortened."""
    conditions = [{"type": "MemoryPressure", "status": "False"}, {"type": "Ready", "status": ready}]
    return {"metadata": {"name": name}, "status": {"conditions": conditions}}


def listed(*items: dict[str, Any], continuing: str = "") -> bytes:
    """A list."""
    metadata = {"resourceVersion": "42"} | ({"continue": continuing} if continuing else {})
    return json.dumps({"kind": "PodList", "metadata": metadata, "items": items}).encode()


def cluster(**more: Any) -> Kubernetes:
    """Two pools by their label app."""
    groups = (
        PodGroup(pool=FIVE, labels={"app": "gpt"}, units_per_s_per_replica=100.0, concurrency_per_replica=8),
        PodGroup(pool=SIX, labels={"app": "oss", "x": "y"}, units_per_s_per_replica=10.0),
    )
    return Kubernetes(name="fleet", url="https://api.example", namespace="llm", pods=groups, **more)


NODES = listed(node("a"), node("b"))


def test_ready_pods_count() -> None:
    """Not those that are not ready, are being deleted, or belong to nobody."""
    pods = listed(
        pod("1"),
        pod("2", "False"),
        pod("3", deletionTimestamp="2026-01-01T00:00:00Z"),
        pod("4", app="web"),
        pod("5"),
        pod("6", "False", app="oss"),
    )
    findings = cluster().read((pods, NODES), stamp())
    assert limits(findings) == {FIVE: 200.0, SIX: 0.0}
    assert stated(findings)[FIVE].concurrency == 16


def test_labels_that_match_no_pod_state_nothing() -> None:
    """They look as a pool without pods does."""
    findings = cluster().read((listed(pod("1")), NODES), stamp())
    assert limits(findings) == {FIVE: 100.0}
    assert findings.unmatched == {f"no pod has the labels of {SIX}"}
    with pytest.raises(UnreadableError, match="no pod has the labels"):
        cluster().read((listed(), NODES), stamp())


@pytest.mark.parametrize(
    ("nodes", "expected"),
    [
        ({"a": "True", "b": "True", "c": "True"}, 200.0),
        ({"a": "False", "b": "True", "c": "True"}, 100.0),  # its kubelet says so
        ({"a": "Unknown", "b": "True", "c": "True"}, 100.0),  # one of three is not heard
        ({"a": "Unknown", "b": "Unknown", "c": "True"}, 300.0),  # Kubernetes is cut off from most
        ({"b": "True"}, 200.0),  # nodes that the selector leaves out
    ],
)
def test_pods_need_their_nodes(nodes: dict[str, str], expected: float) -> None:
    """Unless most nodes are not heard at once: then their pods count, though they are marked as not ready."""
    pods = listed(
        pod("1", node="a"), pod("2", node="b"), pod("3", "False" if "c" in nodes else "True", node="c")
    )
    if nodes.get("b") == "Unknown":
        pods = listed(pod("1", "False", "a"), pod("2", "False", "b"), pod("3", node="c"))
    bodies = (pods, listed(*(node(name, ready) for name, ready in nodes.items())))
    if "a" not in nodes:
        bodies = (listed(pod("1", node="a"), pod("2", node="b")), bodies[1])
    assert limits(cluster().read(bodies, stamp())) == {FIVE: expected}


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{}", b"[]", b"<html>", b'{"kind": "Status", "code": 403}', b'{"metadata": {}, "items": []}',
        b'{"metadata": {"resourceVersion": "1"}, "items": {}}',
        b'{"metadata": {"resourceVersion": "1"}, "items": [1]}',
        b'{"metadata": {"resourceVersion": "1"}, "items": [{"metadata": {}}]}',
        listed(pod("1"), continuing="next"),
    ],
)  # fmt: skip
def test_what_is_no_list_states_nothing(body: bytes) -> None:
    """Neither does a list of which more pages follow."""
    with pytest.raises(UnreadableError):
        cluster().read((body, NODES), stamp())


def test_changes_are_taken_in() -> None:
    """A pod that is deleted no longer counts, and one that is new does."""
    settings, state = cluster(), Cluster({}, {}, {})
    assert settings.take_page(state, "pods", listed(pod("1"), pod("2"), continuing="next")) == "next"
    assert settings.take_page(state, "pods", listed(pod("3"))) == ""
    assert state.versions == {"pods": "42"}
    for kind, item in (
        ("DELETED", pod("1")),
        ("MODIFIED", pod("2", "False")),
        ("ADDED", pod("4", app="oss")),
    ):
        change = change_of("pods", json.dumps({"type": kind, "object": item}).encode())
        assert change.item is not None
        settings.take(state, change.resource, change.item, is_deleted=change.is_deleted)
    assert limits(settings.findings(state, stamp())) == {FIVE: 100.0, SIX: 10.0}


def test_requests_are_the_documented_ones() -> None:
    """Lists in pages, watches with bookmarks and an end."""
    settings = cluster(pod_selector="app in (gpt,oss)", nodes=False)
    assert [request.url for request in settings.requests()] == [
        "https://api.example/api/v1/namespaces/llm/pods?limit=500&labelSelector=app%20in%20%28gpt%2Coss%29"
    ]
    assert cluster().watch("nodes", "42", 60).url == (
        "https://api.example/api/v1/nodes?watch=1&allowWatchBookmarks=true&resourceVersion=42&timeoutSeconds=60"
    )
