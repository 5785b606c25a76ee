"""Reads a policy from YAML. All mistakes are reported at once, each with its file, line and field.

The file's nodes are walked beside the policy's own types (``core.policy.policy``), so that each limit is
stated once, there. Only what no type can say, such as a reference to a missing provider, is checked
afterwards (``core.policy.check``).
"""

import types
from collections.abc import Iterator
from functools import cache
from pathlib import Path as FilePath
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

import msgspec
import yaml

from controller.core.policy.check import Path, faults, name_faults, near_miss
from controller.core.policy.policy import Policy
from controller.process.telemetry import without_password

FILE_BYTES_MAX = 16 * 1024 * 1024
ERRORS_MAX = 50
DEPTH_MAX = 12
COLUMNS = 110

_EXAMPLES = {"geography": "eu", "url": "https://host/openai/v1", "criticality": "critical", "id": "azure"}
_SECRETIVE = ("credential",)  # where people by mistake put the secret itself
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class PolicyError(ValueError):
    """A policy file that can't be used. ``str()`` has a line for each mistake: ``file:line: field: what``."""

    def __init__(self, mistakes: list[str]) -> None:
        self.mistakes = tuple(mistakes)
        shown = mistakes[:ERRORS_MAX]
        if len(mistakes) > ERRORS_MAX:
            shown.append(f"... and {len(mistakes) - ERRORS_MAX} more")
        super().__init__("\n".join(shown))


def load_policy(path: FilePath | str) -> Policy:
    """The checked policy in a YAML file. Raises ``PolicyError``."""
    file = FilePath(path)
    try:
        with file.open("rb") as stream:
            data = stream.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise PolicyError([f"{file}: can't be read: {error.strerror or error}"]) from None
    if len(data) > FILE_BYTES_MAX:
        raise PolicyError([f"{file}: the file has more than {FILE_BYTES_MAX} bytes"])
    return parse_policy(data, name=str(file))


def parse_policy(data: bytes | str, *, name: str = "policy.yaml") -> Policy:
    """The checked policy in YAML text. ``name`` stands for the file in errors. Raises ``PolicyError``."""
    try:
        root = yaml.compose(data, Loader=_LOADER)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{name}:{mark.line + 1}" if mark else name
        what = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise PolicyError([f"{place}: this is not YAML: {what}"]) from None
    if root is None:
        raise PolicyError([f"{name}: the file is empty; examples/multicloud.yaml shows what belongs in it"])
    reading = _PolicyReading(name)
    value = reading.value(root, Policy, ())
    try:
        policy = msgspec.convert(value, Policy)
    except msgspec.ValidationError:
        raise PolicyError(reading.in_order()) from None  # too much is missing to look for anything else
    # While fields have wrong types, only names are checked: numbers may be stand-ins for what was meant.
    for path, text in name_faults(policy) if reading.mistakes else faults(policy):
        reading.mistake(path, text)
    if reading.mistakes:
        raise PolicyError(reading.in_order())
    return policy


def policy_text(policy: Policy) -> str:
    """The policy as YAML that ``parse_policy`` reads as the same policy, without fields at their default."""
    plain = _with_short_numbers(msgspec.to_builtins(policy))
    return str(
        yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, width=COLUMNS, default_flow_style=None)
    )


def _with_short_numbers(value: Any) -> Any:
    """The same value with 20000 for 20000.0."""
    if isinstance(value, dict):
        return {key: _with_short_numbers(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_with_short_numbers(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


class _PolicyReading:
    """One walk over one file: it gives plain values, and collects mistakes and the line of every field.

    In the place of a value that can't be used it gives one that can, so that the rest is checked as well.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._lines: dict[Path, int] = {}
        self._mistaken: set[Path] = set()
        self.mistakes: list[tuple[int, str]] = []

    def in_order(self) -> list[str]:
        return [text for _, text in sorted(self.mistakes, key=lambda mistake: mistake[0])]

    def mistake(self, path: Path, text: str) -> None:
        """Notes a mistake at the field's line, or at the line of the nearest field around it in the file."""
        nearest = path
        while nearest and nearest not in self._lines:
            nearest = nearest[:-1]
        if any(path[: len(place)] == place for place in self._mistaken):
            return  # it was said already what is wrong with this part
        self._mistaken.add(path)
        line = self._lines.get(nearest, 1)
        self.mistakes.append((line, f"{self._name}:{line}: {_dotted(path)}: {text}"))

    def value(self, node: yaml.Node, hint: Any, path: Path) -> Any:
        self._lines.setdefault(path, node.start_mark.line + 1)
        if len(path) > DEPTH_MAX:
            self.mistake(path, f"this is nested more than {DEPTH_MAX} levels deep")
            return None
        bare, inner = _shape(hint)
        if isinstance(bare, type) and issubclass(bare, msgspec.Struct):
            return self._struct(node, bare, path)
        if bare is tuple and isinstance(node, yaml.SequenceNode):
            items = [self.value(child, inner, (*path, i)) for i, child in enumerate(node.value)]
            return self._checked_length(items, hint, path)
        if bare is dict and isinstance(node, yaml.MappingNode):
            return {key: self.value(child, inner, (*path, key)) for key, child in self._entries(node, path)}
        return self._leaf(node, hint, path)

    def _struct(self, node: yaml.Node, cls: type[msgspec.Struct], path: Path) -> Any:
        if not isinstance(node, yaml.MappingNode):
            self.mistake(path, f"expected fields such as {', '.join(cls.__struct_fields__[:3])}")
            return None
        hints = _hints(cls)
        values: dict[str, Any] = {}
        for key, child in self._entries(node, path):
            if key in hints:
                values[key] = self.value(child, hints[key], (*path, key))
            else:
                self._lines[(*path, key)] = child.start_mark.line + 1
                self.mistake((*path, key), f"unknown field{near_miss(key, hints)}")
        for missing in _required(cls):
            if missing not in values:
                self.mistake((*path, missing), "missing" + _example(missing))
                values[missing] = _stand_in(None, hints[missing])
        return values

    def _entries(self, node: yaml.MappingNode, path: Path) -> Iterator[tuple[str, yaml.Node]]:
        keys: set[str] = set()
        for key_node, child in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                self.mistake(path, "the name of a field must be plain text")
                continue
            key = str(key_node.value)
            self._lines[(*path, key)] = key_node.start_mark.line + 1
            if key in keys:
                self.mistake((*path, key), "this field is given twice")
                continue
            keys.add(key)
            yield key, child

    def _leaf(self, node: yaml.Node, hint: Any, path: Path) -> Any:
        plain = _plain(node)
        try:
            msgspec.convert(plain, hint)
        except msgspec.ValidationError as error:
            field = str(path[-1]) if path and isinstance(path[-1], str) else str(path[-2:-1] or "")
            shown = "" if field in _SECRETIVE else plain
            self.mistake(path, _words(str(error), shown, hint) + _example(field))
            return _stand_in(plain, hint)
        return plain

    def _checked_length(self, items: list[Any], hint: Any, path: Path) -> list[Any]:
        for meta in get_args(hint)[1:] if get_origin(hint) is Annotated else ():
            if meta.min_length is not None and len(items) < meta.min_length:
                self.mistake(path, f"needs at least {meta.min_length}")
            if meta.max_length is not None and len(items) > meta.max_length:
                self.mistake(path, f"has {len(items)} entries; at most {meta.max_length} are allowed")
        return items


@cache
def _hints(cls: type[msgspec.Struct]) -> dict[str, Any]:
    hints = get_type_hints(cls, include_extras=True)
    return {name: hints[name] for name in cls.__struct_fields__}


@cache
def _required(cls: type[msgspec.Struct]) -> tuple[str, ...]:
    return tuple(field.name for field in msgspec.structs.fields(cls) if field.required)


def _shape(hint: Any) -> tuple[Any, Any]:
    """A hint without Annotated and Optional, as (bare type, type of its items)."""
    while get_origin(hint) is Annotated:
        hint = get_args(hint)[0]
    if get_origin(hint) in (Union, types.UnionType):
        rest = [arg for arg in get_args(hint) if arg is not type(None)]
        return _shape(rest[0]) if len(rest) == 1 else (hint, None)
    if get_origin(hint) is tuple:
        return tuple, get_args(hint)[0]
    if get_origin(hint) is dict:
        return dict, get_args(hint)[1]
    return hint, None


def _plain(node: yaml.Node) -> Any:
    """A node as a plain value. Text that YAML would read as a date stays text."""
    if isinstance(node, yaml.ScalarNode):
        if node.tag == "tag:yaml.org,2002:timestamp":
            return node.value
        try:
            return yaml.constructor.SafeConstructor().construct_object(node)
        except (yaml.YAMLError, ValueError):
            return node.value
    return {} if isinstance(node, yaml.MappingNode) else []


def _stand_in(plain: Any, hint: Any) -> Any:
    """A value of the type that is closest to what the file has; None where there is none."""
    for candidate in (str(plain) if plain is not None else "missing", 1, [], {}, *get_args(hint)):
        try:
            msgspec.convert(candidate, hint)
        except (msgspec.ValidationError, TypeError):
            continue
        return candidate
    return None


def _words(error: str, plain: Any, hint: Any) -> str:
    """What is wrong with a value, from the error of msgspec and what the type says about itself."""
    text = error.split(" - at ")[0]
    text = text[:1].lower() + text[1:]
    # What was typed may hold a password, in the address of a pool for example, or anything else.
    is_shown = isinstance(plain, str | int | float | bool) and plain != ""
    shown = f", got {without_password(repr(plain))}" if is_shown else ""
    metas = [meta for meta in get_args(hint)[1:] if isinstance(meta, msgspec.Meta)]
    description = next((meta.description for meta in metas if meta.description), None)
    if "matching regex" in text and description:
        text = f"expected {description}"
    if "enum value" in text or "Invalid" in error:
        choices = [str(arg) for arg in get_args(hint)]
        if isinstance(plain, str) and choices:
            hint = near_miss(plain, choices)
            return f"expected one of {', '.join(choices)}{shown}{hint if 'did you mean' in hint else ''}"
    return text + shown


def _example(field: str) -> str:
    return f", e.g. {_EXAMPLES[field]}" if field in _EXAMPLES else ""


def _dotted(path: Path) -> str:
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text or "the file"
