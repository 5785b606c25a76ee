"""Whether a schema may replace an older one of the same version: changes must only add (docs/contract.md)."""

from collections.abc import Iterator
from typing import Any

Schema = dict[str, Any]
LOWER = ("minimum", "minLength", "minItems")
UPPER = ("maximum", "maxLength", "maxItems")


def breaks(old: Schema, new: Schema) -> list[str]:
    """What a record that the old schema allows could not have under the new one, or would mean otherwise."""
    return list(_breaks(old, new, ("", old, new)))


def _breaks(old: Schema, new: Schema, context: tuple[str, Schema, Schema]) -> Iterator[str]:
    place, old_root, new_root = context
    old, new = _resolved(old, old_root), _resolved(new, new_root)
    if old.get("type") != new.get("type"):
        yield f"{place or 'the body'} has another type"
        return
    yield from _tighter(old, new, place)
    for name, schema in old.get("properties", {}).items():
        inner = f"{place}.{name}" if place else name
        if name not in new.get("properties", {}):
            yield f"{inner} is gone"
        else:
            yield from _breaks(schema, new["properties"][name], (inner, old_root, new_root))
    for name in sorted(set(new.get("required", ())) - set(old.get("required", ()))):
        yield f"{place}{'.' if place else ''}{name} is required now"
    if "items" in old:
        yield from _breaks(old["items"], new.get("items", {}), (f"{place}[]", old_root, new_root))
    for before, after in zip(old.get("anyOf", ()), new.get("anyOf", ()), strict=False):
        yield from _breaks(before, after, (place, old_root, new_root))
    if len(old.get("anyOf", ())) != len(new.get("anyOf", ())):
        yield f"{place} has other alternatives"


def _tighter(old: Schema, new: Schema, place: str) -> Iterator[str]:
    for name in LOWER:
        if new.get(name, float("-inf")) > old.get(name, float("-inf")):
            yield f"{place} has a higher {name}"
    for name in UPPER:
        if new.get(name, float("inf")) < old.get(name, float("inf")):
            yield f"{place} has a lower {name}"
    words: list[str] = old.get("enum", [])
    gone = set(words) - set(new.get("enum", words))
    if gone or ("enum" in new and "enum" not in old):
        yield f"{place} no longer allows {', '.join(sorted(gone)) or 'any value'}"
    if old.get("pattern") != new.get("pattern"):
        yield f"{place} has another pattern"
    if "default" in old and old["default"] != new.get("default"):
        yield f"{place} means something else when it is left out"


def _resolved(schema: Schema, root: Schema) -> Schema:
    if "$ref" not in schema:
        return schema
    target: Schema = root["$defs"][schema["$ref"].rpartition("/")[2]]
    return {**target, **{name: value for name, value in schema.items() if name != "$ref"}}
