"""The contract as an AsyncAPI 3 document and as JSON Schemas, made from the types of the events. Pure.

Messages are described in both modes of CloudEvents, with the golden examples beside them. A schema is as
strict as what a producer of this version may write; what readers tolerate besides is in docs/contract.md.
"""

import inspect
import re
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
import yaml

from controller.cli.contract_examples import EXAMPLES, Example, binary, structured
from streams.contract_check import FUTURE_MAX_MS
from tieline.cloudevents import JSON, STRUCTURED, type_of
from tieline.events import (
    EVENT_TYPES,
    Capacity,
    Command,
    Demand,
    Event,
    PolicyChange,
    Report,
    Statement,
)
from tieline.leader_events import Claimed, Heartbeat, Resigned
from tieline.offers import OfferAnswer, OfferRequest
from tieline.topics import Topic, Topics
from tieline.unknown_values import TOLERANCES

Schema = dict[str, Any]
BINDING = "0.5.0"  # of AsyncAPI's Kafka bindings
KEYS: dict[type[Event], str] = {
    Report: "provider/region",
    Statement: "provider/region/source/kind",
    Capacity: "provider/region/source",
    Demand: "the field client",
    Command: "the field scope",
    PolicyChange: "policy",
    OfferRequest: "the field id",
    OfferAnswer: "offer/provider/source",
    Claimed: "the epoch that the claim names",
    Heartbeat: "the epoch",
    Resigned: "the epoch",
}
CHANNELS: dict[str, tuple[str, tuple[type[Event], ...]]] = {
    "reports": ("What probers and gateways saw of the pools of one region.", (Report,)),
    "statements": ("What a source claims of one region until the claim's expiry.", (Statement,)),
    "capacity": ("Limits that a source states for the pools of one region.", (Capacity,)),
    "demand": ("What clients were asked to serve, and what came of it.", (Demand,)),
    "commands": ("Operators' orders, and changes of the policy.", (Command, PolicyChange)),
    "offers": ("Requests for capacity, and what providers answer.", (OfferRequest, OfferAnswer)),
    "leader": (
        "Which controller leads. Controllers write it for each other.",
        (Claimed, Heartbeat, Resigned),
    ),
}
WRITTEN = frozenset({OfferRequest, Claimed, Heartbeat, Resigned})  # by controllers; they read the others
ATTRIBUTES = {
    "specversion": {"type": "string", "enum": ["1.0"]},
    "type": {"type": "string"},
    "source": {"type": "string", "minLength": 1, "description": "e.g. /tieline/prober-eu"},
    "id": {"type": "string", "minLength": 1, "description": "unique within the source"},
    "time": {"type": "string", "format": "date-time"},
    "partitionkey": {"type": "string", "description": "the key of the record"},
}
REQUIRED = ["specversion", "type", "source", "id"]


def document() -> Schema:
    """The AsyncAPI document, as plain values."""
    topics = Topics()
    return {
        "asyncapi": "3.0.0",
        "id": "urn:tieline:contract",
        "info": {
            "title": "Tieline's contract with producers",
            "version": "1",
            "description": "Made from the code by `tieline contract`. Every record is a CloudEvent 1.0 with "
            "a JSON or msgpack body. Producers write reports, statements, capacity and demand; operators "
            "write commands. Within a version of a type, changes only add. The prefix "
            "`tieline` of the topics is the default; an installation may have another. A record more than "
            f"{FUTURE_MAX_MS // 1000} s ahead of the broker's clock is refused.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": JSON,
        "channels": {name: _channel(name, getattr(topics, name)) for name in CHANNELS},
        "operations": dict(operation for name in CHANNELS for operation in _operations(name)),
        "components": {
            "messages": {name: message for kind in EVENT_TYPES for name, message in _messages(kind)},
            "schemas": _components(EVENT_TYPES, "#/components/schemas/{name}"),
        },
    }


def schemas() -> dict[str, Schema]:
    """A JSON Schema of each body, by its tag, e.g. ``report.v1``."""
    return {_tag(kind): _schema(kind) for kind in EVENT_TYPES}


class _Dumper(yaml.SafeDumper):
    """Writes a value again where it occurs again: references within YAML are hard to read."""

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002
        return True


def as_yaml(values: Schema) -> str:
    """The document as people read it."""
    return str(yaml.dump(values, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110))


def _schema(kind: type[Event]) -> Schema:
    components = _components((kind,), "#/$defs/{name}")
    own = components.pop(kind.__name__)
    head = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:tieline:contract:{_tag(kind)}",
    }
    return {**head, **own, "$defs": components} if components else {**head, **own}


def _components(kinds: Iterable[type[Event]], template: str) -> dict[str, Schema]:
    """The schemas of these types and of all that they refer to."""
    kinds = tuple(kinds)
    _, components = msgspec.json.schema_components(kinds, ref_template=template)
    portable: dict[str, Schema] = _portable(components)
    for kind in kinds:
        for tolerance in TOLERANCES.get(kind, ()):
            properties = portable[kind.__name__]["properties"]
            if tolerance.rows:
                name = properties[tolerance.rows]["items"]["$ref"].rpartition("/")[2]
                properties = portable[name]["properties"]
            note = f"Readers take an unknown value for `{tolerance.taken_for}`."
            properties[tolerance.field]["description"] = note
    return portable


def _portable(value: Any, key: str = "") -> Any:
    """The same schema as any language reads it: patterns of ECMA 262, and prose without Python. The field
    ``type`` may be left out, as the type of a record stands in its attributes."""
    if isinstance(value, dict):
        return {name: _portable(item, name) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_portable(item) for item in value if (key, item) != ("required", "type")]
    if key == "pattern":
        return value.replace(r"\Z", "$")
    if key == "description":
        return re.sub(r"\bNone\b", "null", inspect.cleandoc(value).replace("``", "`"))
    return value


def _channel(name: str, topic: Topic) -> Schema:
    summary, kinds = CHANNELS[name]
    names = [message for kind in kinds for message, _ in _messages(kind)]
    return {
        "address": topic.name,
        "description": summary,
        "messages": {message: {"$ref": f"#/components/messages/{message}"} for message in names},
        "bindings": {
            "kafka": {
                "topic": topic.name,
                "partitions": topic.partitions,
                "topicConfiguration": _configuration(topic),
                "bindingVersion": BINDING,
            }
        },
    }


def _configuration(topic: Topic) -> Schema:
    config = topic.config
    chosen: Schema = {"cleanup.policy": [config["cleanup.policy"]]}
    numbers = ("retention.ms", "retention.bytes", "max.message.bytes")
    return {**chosen, **{name: int(config[name]) for name in numbers if name in config}}


def _operations(channel: str) -> Iterator[tuple[str, Schema]]:
    summary, kinds = CHANNELS[channel]
    for action, verb, own in (("receive", "read", False), ("send", "write", True)):
        chosen = [kind for kind in kinds if (kind in WRITTEN) == own]
        names = [message for kind in chosen for message, _ in _messages(kind)]
        if names:
            yield (
                f"{verb}{channel.capitalize()}",
                {
                    "action": action,
                    "channel": {"$ref": f"#/channels/{channel}"},
                    "summary": summary,
                    "messages": [{"$ref": f"#/channels/{channel}/messages/{name}"} for name in names],
                },
            )


def _messages(kind: type[Event]) -> list[tuple[str, Schema]]:
    """The message in both modes; what controllers write only in the mode that they use."""
    examples = [example for example in EXAMPLES if type(example.event) is kind]
    own = [(kind.__name__, _binary_message(kind, examples))]
    if kind not in WRITTEN:
        own.append((f"{kind.__name__}Structured", _structured_message(kind, examples)))
    return own


def _common(kind: type[Event], mode: str) -> Schema:
    return {
        "name": f"{type_of(kind)} ({mode})",
        "title": f"{kind.__name__} in the {mode} mode of CloudEvents",
        "summary": re.split(r"(?<=[.;])\s", _portable(kind.__doc__ or "", "description"))[0].rstrip(";"),
        "bindings": {
            "kafka": {
                "key": {"type": "string", "description": KEYS[kind]},
                "bindingVersion": BINDING,
            }
        },
    }


def _binary_message(kind: type[Event], examples: list[Example]) -> Schema:
    headers = {f"ce_{name}": schema for name, schema in ATTRIBUTES.items()}
    headers["ce_type"] = {"type": "string", "enum": [type_of(kind)]}
    headers["content-type"] = {"type": "string", "enum": [JSON, "application/msgpack"]}
    return {
        **_common(kind, "binary"),
        "contentType": JSON,
        "headers": {
            "type": "object",
            "required": [*(f"ce_{name}" for name in REQUIRED), "content-type"],
            "properties": headers,
        },
        "payload": {"$ref": f"#/components/schemas/{kind.__name__}"},
        "examples": [
            {"name": example.name, "headers": record["headers"], "payload": record["value"]}
            for example in examples
            for record in [binary(example)]
        ],
    }


def _structured_message(kind: type[Event], examples: list[Example]) -> Schema:
    attributes = {
        **ATTRIBUTES,
        "type": {"type": "string", "enum": [type_of(kind)]},
        "datacontenttype": {"type": "string", "enum": [JSON]},
        "data": {"$ref": f"#/components/schemas/{kind.__name__}"},
    }
    return {
        **_common(kind, "structured"),
        "contentType": STRUCTURED,
        "headers": {
            "type": "object",
            "required": ["content-type"],
            "properties": {"content-type": {"type": "string", "enum": [STRUCTURED]}},
        },
        "payload": {"type": "object", "required": [*REQUIRED, "data"], "properties": attributes},
        "examples": [
            {"name": example.name, "headers": record["headers"], "payload": record["value"]}
            for example in examples
            for record in [structured(example)]
        ],
    }


def _tag(kind: type[Event]) -> str:
    return str(kind.__struct_config__.tag)
