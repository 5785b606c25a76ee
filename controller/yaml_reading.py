"""Reads YAML beside the types that it should have. All mistakes are reported at once, with line and field.

The file's nodes are walked beside msgspec's own types, so that each limit is stated once, there. What no
type can say is checked by the caller, who notes it at the same places. In a union of tagged structs the
tag's field says which of them is meant.
"""

import types
from collections.abc import Callable, Iterable, Iterator, Sized
from functools import cache
from pathlib import Path as FilePath
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec
import yaml

from controller.core.policy.check import Path, near_miss
from controller.process.errors import UserError
from controller.process.telemetry import without_password

FILE_BYTES_MAX = 16 * 1024 * 1024
ERRORS_MAX = 50
DEPTH_MAX = 12

_EXAMPLES = {"geography": "eu", "url": "https://host/openai/v1", "criticality": "critical", "id": "azure"}
_SECRETIVE = {"credential", "authorization", "headers"}  # where people by mistake put the secret itself
_Document = TypeVar("_Document", bound=msgspec.Struct)
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class UnreadableFileError(ValueError):
    """A file that is not there, too large, or not YAML. ``str()`` is a sentence that begins with the
    place."""


def read_file(path: FilePath, bytes_max: int = FILE_BYTES_MAX) -> bytes:
    """The bytes of a file of at most ``bytes_max``. Raises ``UnreadableFileError``."""
    try:
        with path.open("rb") as stream:
            data = stream.read(bytes_max + 1)
    except OSError as error:
        raise UnreadableFileError(f"{path}: can't be read: {error.strerror or error}") from None
    if len(data) > bytes_max:
        raise UnreadableFileError(f"{path}: the file has more than {bytes_max} bytes")
    return data


def compose(data: bytes | str, *, name: str, example: str) -> yaml.Node:
    """The root of YAML text. ``name`` stands for the file in errors; ``example`` is a file that shows what
    belongs in it. Raises ``UnreadableFileError``."""
    try:
        _require_shallow(data, name)
        root = yaml.compose(data, Loader=_LOADER)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{name}:{mark.line + 1}" if mark else name
        what = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise UnreadableFileError(f"{place}: this is not YAML: {what}") from None
    if root is None:
        raise UnreadableFileError(f"{name}: the file is empty; {example} shows what belongs in it")
    return root


def _require_shallow(data: bytes | str, name: str) -> None:
    """Raises ``UnreadableFileError`` for lists or maps within one another beyond any sense: to compose them
    would end the process, because the parser in C calls itself for each."""
    depth = 0
    for event in yaml.parse(data, Loader=_LOADER):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > DEPTH_MAX:
            raise UnreadableFileError(f"{name}: more than {DEPTH_MAX} lists or maps within one another")


def shortened(mistakes: list[str]) -> str:
    """A line for each of the first ``ERRORS_MAX`` mistakes, and how many more there are."""
    lines = mistakes[:ERRORS_MAX]
    if len(mistakes) > ERRORS_MAX:
        lines.append(f"... and {len(mistakes) - ERRORS_MAX} more")
    return "\n".join(lines)


class YamlReading:
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
        if isinstance(node, yaml.MappingNode) and (choices := _structs(bare)):
            return self._one_of(node, choices, path)
        if isinstance(node, yaml.SequenceNode):
            bare, inner = _list_in(bare) or (bare, inner)
        if isinstance(bare, type) and issubclass(bare, msgspec.Struct):
            return self._struct(node, bare, path)
        if bare is tuple and isinstance(node, yaml.SequenceNode):
            items = [self.value(child, inner, (*path, i)) for i, child in enumerate(node.value)]
            return self._checked_length(items, hint, path)
        if bare is dict and isinstance(node, yaml.MappingNode):
            entries = dict(self._entries(node, path))
            values = {key: self.value(child, inner, (*path, key)) for key, child in entries.items()}
            return self._checked_length(values, hint, path)
        return self._leaf(node, hint, path)

    def _one_of(self, node: yaml.MappingNode, choices: list[type[msgspec.Struct]], path: Path) -> Any:
        """A member of a union of structs. Without tags the union has only one struct."""
        field = choices[0].__struct_config__.tag_field
        if field is None:
            return self._struct(node, choices[0], path)
        by_tag = {str(choice.__struct_config__.tag): choice for choice in choices}
        for key, child in node.value:
            if key.value == field and isinstance(child, yaml.ScalarNode):
                if child.value in by_tag:
                    return self._struct(node, by_tag[child.value], path)
                self._lines[(*path, field)] = child.start_mark.line + 1
                what = f"expected one of {', '.join(by_tag)}, got {child.value!r}"
                self.mistake((*path, field), what + _suggestion(child.value, by_tag))
                return None
        self.mistake((*path, field), f"missing; it is one of {', '.join(by_tag)}")
        return None

    def _struct(self, node: yaml.Node, cls: type[msgspec.Struct], path: Path) -> Any:
        if not isinstance(node, yaml.MappingNode):
            self.mistake(path, f"expected fields such as {', '.join(cls.__struct_fields__[:3])}")
            return None
        hints = _hints(cls)
        values: dict[str, Any] = {}
        for key, child in self._entries(node, path):
            if key == cls.__struct_config__.tag_field:
                values[key] = cls.__struct_config__.tag
            elif key in hints:
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
            shown = "" if _SECRETIVE.intersection(map(str, path)) else plain
            self.mistake(path, _words(str(error), shown, hint) + _example(field))
            return _stand_in(plain, hint)
        return plain

    def _checked_length(self, items: Sized, hint: Any, path: Path) -> Any:
        for meta in get_args(hint)[1:] if get_origin(hint) is Annotated else ():
            if meta.min_length is not None and len(items) < meta.min_length:
                self.mistake(path, f"needs at least {meta.min_length}")
            if meta.max_length is not None and len(items) > meta.max_length:
                self.mistake(path, f"has {len(items)} entries; at most {meta.max_length} are allowed")
        return items


def checked_document(
    data: bytes | str,
    document: type[_Document],
    *,
    name: str,
    example: str,
    faults: Callable[[_Document], Iterable[tuple[Path, str]]],
) -> _Document:
    """YAML text as the struct that it should be. ``faults`` finds what no type can say, each with its place.

    ``name`` and ``example`` as in ``compose``. Raises ``UserError`` with a line for each mistake.
    """
    try:
        root = compose(data, name=name, example=example)
    except UnreadableFileError as error:
        raise UserError(str(error)) from None
    reading = YamlReading(name)
    value = reading.value(root, document, ())
    try:
        checked = msgspec.convert(value, document)
    except msgspec.ValidationError as error:
        raise UserError(shortened(reading.in_order()) or f"{name}: {error}") from None
    for path, text in faults(checked):
        reading.mistake(path, text)
    if reading.mistakes:
        raise UserError(shortened(reading.in_order()))
    return checked


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


def _list_in(bare: Any) -> tuple[Any, Any] | None:
    """The shape of the list in a union such as ``str | tuple[str, ...]``; None without one."""
    if get_origin(bare) not in (Union, types.UnionType):
        return None
    return next((_shape(item) for item in get_args(bare) if get_origin(item) is tuple), None)


def _structs(bare: Any) -> list[type[msgspec.Struct]]:
    """A struct with a tag, or the structs of a union; empty for everything else."""
    if isinstance(bare, type) and issubclass(bare, msgspec.Struct) and bare.__struct_config__.tag_field:
        return [bare]
    if get_origin(bare) not in (Union, types.UnionType):
        return []
    return [item for item in get_args(bare) if isinstance(item, type) and issubclass(item, msgspec.Struct)]


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
            return f"expected one of {', '.join(choices)}{shown}{_suggestion(plain, choices)}"
    return text + shown


def _suggestion(name: str, defined: Iterable[str]) -> str:
    """The most similar of the names, if one is similar."""
    hint = near_miss(name, defined)
    return hint if "did you mean" in hint else ""


def _example(field: str) -> str:
    return f", e.g. {_EXAMPLES[field]}" if field in _EXAMPLES else ""


def _dotted(path: Path) -> str:
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text or "the file"
