"""Old records are read by today's code as they were meant, and today's schemas allow all that older ones did.

`published` holds the golden records and schemas as they were when they were first published. They are only
added to: what stands there is what producers in the field send.
"""

import copy
import json
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from controller.cli.contract_document import schemas
from controller.cli.contract_records import read_records
from tests.contract.compatible import Schema, breaks
from tests.places import ROOT
from tieline.cloudevents import body_of, decode, encode

PUBLISHED = ROOT / "tests" / "contract" / "published"
RECORDS = read_records((PUBLISHED / "records.ndjson").read_text(), "published")
SCHEMAS: dict[str, Schema] = {
    path.stem: json.loads(path.read_text()) for path in sorted((PUBLISHED / "schemas").glob("*.json"))
}


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.name)
def test_an_old_record_says_today_what_it_said_then(record: Any) -> None:
    """Every field that was written is read, with its value; so none was removed or renamed."""
    event = decode(record.headers, record.value, record.key)
    today = msgspec.json.decode(msgspec.json.encode(event))
    body = msgspec.json.decode(msgspec.json.encode(body_of(record.headers, record.value)))
    assert list(lost(body, today, "")) == []


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.name)
def test_a_newer_producer_may_add_a_field_anywhere(record: Any) -> None:
    """In the body, and in every object within it."""
    event = decode(record.headers, record.value, record.key)
    encoded = encode(event, time_ms=1_790_000_000_000, content_type="application/json")
    body = with_additions(json.loads(encoded.value))
    assert decode(encoded.headers, json.dumps(body).encode(), encoded.key) == event


@pytest.mark.parametrize("tag", sorted(SCHEMAS))
def test_todays_schemas_allow_what_older_ones_did(tag: str) -> None:
    """Within a version, changes only add. Anything else is a new version of the type."""
    assert breaks(SCHEMAS[tag], schemas()[tag]) == []


@pytest.mark.parametrize(
    ("path", "value", "fault"),
    [
        (("properties", "sequence"), None, "sequence is gone"),
        (("properties", "sequence", "type"), "string", "sequence has another type"),
        (("properties", "interval_ms", "maximum"), 1_000, "interval_ms has a lower maximum"),
        (("properties", "interval_ms", "minimum"), 1_000, "interval_ms has a higher minimum"),
        (("properties", "provider", "pattern"), "^a$", "provider has another pattern"),
        (("required",), ["vantage"], "vantage is required now"),
        (("$defs", "PoolObservation", "properties", "units"), None, "pools[].units is gone"),
        (("$defs", "PoolObservation", "properties", "units", "default"), 1.0, "means something else"),
        (("$defs", "ResultClass", "enum"), ["ok"], "no longer allows auth"),
    ],
)
def test_what_would_break_producers_is_noticed(path: tuple[str, ...], value: Any, fault: str) -> None:
    """A field that goes, changes or becomes required; a tighter limit; a word that is no longer allowed."""
    changed = copy.deepcopy(SCHEMAS["report.v1"])
    place = changed
    for name in path[:-1]:
        place = place[name]
    if value is None:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    assert any(fault in line for line in breaks(SCHEMAS["report.v1"], changed))


def test_additions_break_nothing() -> None:
    """An optional field, a further word and a wider limit are all allowed."""
    wider = copy.deepcopy(SCHEMAS["report.v1"])
    wider["properties"]["vantage"] = {"type": "string", "default": ""}
    wider["properties"]["interval_ms"]["maximum"] = 3_600_000
    wider["$defs"]["ResultClass"]["enum"].append("overloaded")
    assert breaks(SCHEMAS["report.v1"], wider) == []


def lost(old: Any, new: Any, place: str) -> Iterator[str]:
    """The fields of a body that are not in another one, or differ there."""
    if isinstance(old, dict) and isinstance(new, dict):
        for name, value in old.items():
            if name in new:
                yield from lost(value, new[name], f"{place}.{name}")
            else:
                yield f"{place}.{name}"
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for number, (row, other) in enumerate(zip(old, new, strict=True)):
            yield from lost(row, other, f"{place}[{number}]")
    elif old != new:
        yield place


def with_additions(value: Any) -> Any:
    """The same with a field that nobody knows in every object."""
    if isinstance(value, dict):
        return {
            "of_tomorrow": [1, {"a": None}],
            **{name: with_additions(item) for name, item in value.items()},
        }
    return [with_additions(item) for item in value] if isinstance(value, list) else value
