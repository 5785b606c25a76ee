"""Events from what an operator typed or wrote into a file. A fault is named by its field. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec
import yaml
from msgspec import Struct

from controller.process.errors import UserError
from tieline.events import Capacity, PoolCapacity, PoolObservation, Report, pool_of
from tieline.misfits import misfit

Kind = Literal["health", "capacity"]
INPUT_MAX_BYTES = 4 * 1024 * 1024
EVENTS_MAX = 1_000
WINDOW_MS = 10_000
EXPIRES_AFTER_MS = 600_000
_EVENT: dict[Kind, type[Struct]] = {"health": Report, "capacity": Capacity}
_ROW: dict[Kind, type[Struct]] = {"health": PoolObservation, "capacity": PoolCapacity}


class InputError(UserError):
    """The input is not an event: one sentence with place, field and fault."""


class Identity(Struct, frozen=True):
    """What an event needs and an operator need not type: its source, a new incarnation, and the time."""

    source: str
    incarnation: str
    now_ms: int


def load(text: str, place: str) -> list[dict[str, Any]]:
    """The events in YAML or JSON text, one or a list of them, as plain values. Raises InputError."""
    if len(text.encode()) > INPUT_MAX_BYTES:
        raise InputError(f"{place} is larger than {INPUT_MAX_BYTES} bytes.")
    try:
        raw = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        raise InputError(f"{place}{line}: {getattr(error, 'problem', None) or 'not YAML or JSON'}.") from None
    descriptions = raw if isinstance(raw, list) else [raw]
    if not descriptions or not all(isinstance(item, dict) for item in descriptions):
        raise InputError(f"{place}: expected one event (fields with values) or a list of events.")
    if len(descriptions) > EVENTS_MAX:
        raise InputError(f"{place} has {len(descriptions)} events: send at most {EVENTS_MAX} at once.")
    return descriptions


def events(
    kind: Kind, descriptions: Sequence[Mapping[str, Any]], identity: Identity, *, place: str
) -> list[Report | Capacity]:
    """Events of one kind: for each description one event per provider and region among its pools.

    A record is its source's whole view of a region, so all pools of a region belong in one event. Fields that
    are left out are filled in: source, incarnation, sequence, the window (the last 10 s) or the expiry (in 10
    min). ``place`` names the input in errors. Raises InputError.
    """
    result: list[Report | Capacity] = []
    for number, description in enumerate(descriptions):
        at = place if len(descriptions) == 1 else f"{place}, event {number + 1}"
        for home, rows in sorted(_by_region(description, at).items()):
            defaults = _defaults(kind, description, identity, sequence=len(result) + 1)
            fields = {**defaults, **description, "pools": rows}
            fields["provider"], fields["region"] = home
            result.append(_convert(kind, fields, at))
    return result


def _by_region(description: Mapping[str, Any], at: str) -> dict[tuple[str, str], list[Any]]:
    rows = description.get("pools")
    if not isinstance(rows, list) or not rows:
        raise InputError(f"{at}: field pools: expected a list with at least one pool.")
    stated = (description.get("provider"), description.get("region"))
    homes: dict[tuple[str, str], list[Any]] = {}
    for index, row in enumerate(rows):
        pool = row.get("pool") if isinstance(row, dict) else None
        if not isinstance(pool, str) or pool.count("/") < 2:
            raise InputError(f"{at}: field pools[{index}].pool: expected provider/region/deployment.")
        provider, region = pool_of(pool)
        home = (str(stated[0] or provider), str(stated[1] or region))
        homes.setdefault(home, []).append(row)
    return homes


def _defaults(
    kind: Kind, description: Mapping[str, Any], identity: Identity, *, sequence: int
) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "source": identity.source,
        "incarnation": identity.incarnation,
        "sequence": sequence,
    }
    if kind == "health":
        window_ms = description.get("interval_ms", WINDOW_MS)
        length_ms = window_ms if isinstance(window_ms, int) else WINDOW_MS
        end_ms = description.get("window_end_ms", identity.now_ms)
        start_ms = end_ms - length_ms if isinstance(end_ms, int) else identity.now_ms
        return {**fields, "window_start_ms": start_ms, "window_end_ms": end_ms, "interval_ms": length_ms}
    return {**fields, "issued_ms": identity.now_ms, "expires_ms": identity.now_ms + EXPIRES_AFTER_MS}


def _convert(kind: Kind, fields: Mapping[str, Any], at: str) -> Report | Capacity:
    cls: Any = _EVENT[kind]
    tag = cls.__struct_config__.tag
    if fields.get("type", tag) != tag:
        raise InputError(f"{at}: field type: this is not a {kind} event ({tag}).")
    refuse_unknown(fields, {*cls.__struct_fields__, "type"}, f"{at}: field ")
    for index, row in enumerate(fields["pools"]):
        refuse_unknown(row, set(_ROW[kind].__struct_fields__), f"{at}: field pools[{index}].")
    if not fields["source"]:
        raise InputError(f"{at}: field source: name the source of the event, as the policy registers it.")
    try:
        event: Report | Capacity = msgspec.convert({**fields, "type": tag}, cls)
    except msgspec.ValidationError as error:
        raise InputError(f"{at}: {words_of(str(error))}.") from None
    if fault := misfit(event):
        raise InputError(f"{at}: {fault}.")
    return event


def refuse_unknown(fields: Mapping[str, Any], allowed: set[str], at: str) -> None:
    """Raises InputError for a misspelt field, whose default would otherwise be sent as a fact."""
    for name in fields:
        if name not in allowed:
            raise InputError(
                f"{at}{name}: there is no such field; the fields are {', '.join(sorted(allowed))}."
            )


def words_of(message: str) -> str:
    """The error of msgspec, such as "Expected `int` >= 0 - at `$.pools[0].units`", with the field first."""
    fault, _, place = message.partition(" - at `$")
    fault = (fault[:1].lower() + fault[1:]).replace("`", "")
    field = place.rstrip("`").lstrip(".")
    return f"field {field}: {fault}" if field else fault
