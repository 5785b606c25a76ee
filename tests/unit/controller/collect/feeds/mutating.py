"""Feeds with something wrong in them: values of other types, missing and repeated parts, cut and damaged
bytes.

A mutation never writes a feed's word for an outage and never a mapped name, so whatever it does, nothing
that was not down before may be down after it. ``evidence`` reads what says that something is ill by a way
of its own, so that it shows whether a mutation left that as it was.
"""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterator
from typing import Any
from xml.etree.ElementTree import Element, ParseError, SubElement, fromstring, tostring

from tests.unit.controller.collect.feeds.shapes import Shape

ODD_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 7, 10**30, 1e308, -62_135_596_800, "", " ", "x" * 5_000, "NaN"),
    *("\u202egnp.exe\x00", "something_new", "2999-01-01T00:00:00Z", "0001-01-01T00:00:00", "yesterday"),
    *([], {}, [[]], [None], ["x"], {"a": 1}, [{"id": 1}], "<b>&amp;</b>", "\U0001f600" * 50),
)
JUNK = (b"", b"null", b"[]", b"{}", b"0", b'"x"', b"<html><body>all is well</body></html>", bytes(100))
DAMAGED_SHARE = 0.2
CHANGES_MAX = 4


def mutated(shape: Shape, body: bytes, rng: random.Random) -> bytes:
    """The body with damaged bytes, or with one to four parts changed."""
    if rng.random() < DAMAGED_SHARE:
        return _damaged(body, rng)
    if body.startswith(b"<"):
        return _mutated_xml(body, rng)
    root = [json.loads(body)]
    for _ in range(rng.randint(1, CHANGES_MAX)):
        if places := list(_places(root)):
            _change(rng, *rng.choice(places))
    return json.dumps(root[0] if root else None).encode()


def _places(part: Any) -> Iterator[tuple[Any, Any]]:
    """Every place in a document, as what contains it and its index or name there."""
    keys = list(part) if isinstance(part, dict) else range(len(part)) if isinstance(part, list) else ()
    for key in keys:
        yield part, key
        yield from _places(part[key])


def _change(rng: random.Random, parent: Any, key: Any) -> None:
    """Another value, a missing or repeated part, or something added."""
    kind = rng.choice(("odd", "odd", "gone", "again", "more"))
    if kind == "gone":
        del parent[key]
    elif kind == "odd" or (isinstance(parent, dict) and kind == "again"):
        parent[key] = copy.deepcopy(rng.choice(ODD_VALUES))
    elif isinstance(parent, dict):
        parent[f"new{rng.random()}"] = copy.deepcopy(rng.choice(ODD_VALUES))
    else:
        parent.insert(
            key, copy.deepcopy(parent[key]) if kind == "again" else copy.deepcopy(rng.choice(ODD_VALUES))
        )


def _mutated_xml(body: bytes, rng: random.Random) -> bytes:
    root = fromstring(body)
    for _ in range(rng.randint(1, CHANGES_MAX)):
        parent = rng.choice(list(root.iter()))
        kind = rng.choice(("text", "text", "tag", "gone", "again", "more", "attribute"))
        if kind == "text":
            parent.text = rng.choice(("", " ", "x" * 5_000, "something new", "<b>&amp;</b>", "\U0001f600"))
        elif kind == "tag":
            parent.tag = "other"
        elif kind == "attribute":
            parent.set("version", "9")
        elif kind == "more":
            SubElement(parent, rng.choice(("item", "title", "channel", "other"))).text = "something new"
        elif len(parent):
            child = parent[rng.randrange(len(parent))]
            if kind == "gone":
                parent.remove(child)
            else:
                parent.append(copy.deepcopy(child))
    return bytes(tostring(root, encoding="utf-8", xml_declaration=True))


def _damaged(body: bytes, rng: random.Random) -> bytes:
    kind = rng.choice(("cut", "flip", "junk", "utf-16", "bom", "behind", "deep", "entities"))
    place = rng.randrange(len(body))
    if kind == "cut":
        return body[:place]
    if kind == "flip":
        return body[:place] + bytes([rng.randrange(256)]) + body[place + 1 :]
    if kind == "utf-16":
        return body.decode().encode("utf-16")
    if kind == "bom":
        return b"\xef\xbb\xbf" + body
    if kind == "behind":
        return body + rng.choice(JUNK)
    if kind == "deep":
        return b"[" * 50_000 if body[:1] != b"<" else b"<a>" * 5_000
    if kind == "entities":
        bomb = b'<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>'
        return body.replace(b"<rss", bomb + b"<rss", 1)
    return rng.choice(JUNK)


def evidence(shape: Shape, body: bytes) -> frozenset[str]:
    """What in a body says that the shape's product is ill; empty for a body that is no document."""
    try:
        if body.lstrip(b"\xef\xbb\xbf").startswith(b"<"):
            return frozenset() if b"<!DOCTYPE" in body else frozenset(_of_rss(fromstring(body)))
        root = json.loads(body.decode("utf-8-sig"))
    except (ParseError, ValueError, RecursionError):
        return frozenset()
    parts = {"gcp": _of_google, "oci": _of_oracle, "coreweave": _of_statusio, "acme": _of_statuspage}
    try:
        return frozenset(json.dumps(part) for part in parts[shape.feed.provider](root, shape.product))
    except (AttributeError, KeyError, TypeError):
        return frozenset()  # the document itself is another one


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []


def _of_google(root: Any, product: str) -> Iterator[Any]:
    fields = ("id", "end", "status_impact", "currently_affected_locations", "modified")
    for entry in _dicts(root):
        update = entry.get("most_recent_update")
        titles = [part.get("title") for part in _dicts(entry.get("affected_products"))]
        if entry.get("currently_affected_locations") and product in titles and isinstance(update, dict):
            yield [[entry.get(field) for field in fields], titles, update.get("status"), update.get("when")]


def _of_oracle(root: Any, product: str) -> Iterator[Any]:
    for region in _dicts(root["regionHealthReports"]):
        for service in _dicts(region.get("serviceHealthReports")):
            status = service.get("serviceStatus")
            if service.get("serviceName") == product and status != "NormalPerformance":
                yield [region.get("regionCanonicalName"), status]


def _of_statusio(root: Any, product: str) -> Iterator[Any]:
    for component in _dicts(root["result"]["status"]):
        for container in _dicts(component.get("containers")):
            if component.get("name") == product and container.get("status_code") != 100:
                yield [container.get("name"), container.get("status_code")]


def _of_statuspage(root: Any, product: str) -> Iterator[Any]:
    entries = _dicts(root["components"])
    groups = {str(entry.get("id")): entry.get("name") for entry in entries if entry.get("group") is True}
    for entry in entries:
        if entry.get("name") == product and entry.get("status") != "operational":
            yield [groups.get(str(entry.get("group_id"))), entry.get("status")]


def _of_rss(root: Element) -> Iterator[str]:
    channel = root.find("channel")
    if root.tag == "rss" and channel is not None and (channel.findtext("title") or "").strip():
        for item in channel.findall("item"):
            yield f"{item.findtext('title')} {sorted(part.text or '' for part in item.findall('category'))}"
