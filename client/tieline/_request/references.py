"""PURE. Which state of a provider a request refers to: a response, a file, a thread, a container.

Such state lives at the provider that made it, so a request that names it can't be served elsewhere. Ids are
read where OpenAI's API puts them and nowhere else: from the path of a collection, and from the fields that
``_IN_BODY`` lists for that path. A field of the same name in ``metadata``, in a tool's schema or in a text is
the caller's own and binds nothing.

A place is written as in ``input[].content[type=input_file].file_id``: a dot goes into an object, ``[]`` into
each member of a list, and ``[type=a|b]`` only into members whose ``type`` is one of these.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from hashlib import sha256
from typing import Any

import msgspec
from msgspec import Struct

from tieline.errors import UNDECODABLE

# Collections whose members one provider holds: /responses/ID, /files/ID/content, /threads/ID/runs/ID ...
STATEFUL = frozenset(
    {
        "assistants",
        "batches",
        "containers",
        "conversations",
        "evals",
        "files",
        "fine_tuning",
        "responses",
        "threads",
        "uploads",
        "vector_stores",
        "videos",
    }
)
# Every other part of such a path that is a word of the API. What is neither is an id.
_WORDS = STATEFUL | {
    "alpha",
    "cancel",
    "chat",
    "checkpoints",
    "compact",
    "complete",
    "completions",
    "content",
    "events",
    "file_batches",
    "graders",
    "input_items",
    "input_tokens",
    "items",
    "jobs",
    "messages",
    "output_items",
    "parts",
    "pause",
    "permissions",
    "remix",
    "resume",
    "run",
    "runs",
    "search",
    "steps",
    "submit_tool_outputs",
    "validate",
}

_PARTS = "[type=input_file|input_image].file_id"
_ITEM = (
    f".content{_PARTS}",
    f".output{_PARTS}",
    "[type=item_reference].id",
    "[type=reasoning].encrypted_content",
)
_MESSAGE = (".attachments[].file_id", ".content[type=image_file].image_file.file_id")
_RESOURCES = (
    "tool_resources.code_interpreter.file_ids[]",
    "tool_resources.file_search.vector_store_ids[]",
    "tool_resources.file_search.vector_stores[].file_ids[]",
)
_TOOLS = (
    "tools[type=file_search].vector_store_ids[]",
    "tools[type=code_interpreter].container",
    "tools[type=code_interpreter].container.file_ids[]",
    "tools[type=shell].environment.container_id",
)


def _each(lists: str, ends: Iterable[str]) -> tuple[str, ...]:
    """Places in the members of a list; an end that begins with a condition takes the place of ``[]``."""
    return tuple(f"{lists}{end}" if end.startswith("[") else f"{lists}[]{end}" for end in ends)


_REQUEST_OF_RESPONSE = (
    "previous_response_id",
    "conversation",
    "conversation.id",
    "prompt.id",
    "container",
    "container.id",
    *_each("input", _ITEM),
    *_TOOLS,
)
_IN_BODY: Mapping[str, tuple[str, ...]] = {
    "assistants": _RESOURCES,
    "batches": ("input_file_id",),
    "chat/completions": (
        "messages[].content[type=file].file.file_id",
        "messages[role=assistant].audio.id",
        "container",
        "container.id",
    ),
    "containers": ("file_ids[]",),
    "containers/files": ("file_id",),
    "conversations": _each("items", _ITEM),
    "conversations/items": _each("items", _ITEM),
    "evals/runs": ("data_source.source.id",),
    "fine_tuning/jobs": ("training_file", "validation_file"),
    "images/edits": ("images[].file_id", "mask.file_id"),
    "responses": _REQUEST_OF_RESPONSE,
    "responses/compact": _REQUEST_OF_RESPONSE,
    "responses/input_tokens": _REQUEST_OF_RESPONSE,
    "threads": (*_each("messages", _MESSAGE), *_RESOURCES),
    "threads/messages": tuple(end[1:] for end in _MESSAGE),
    "threads/runs": (
        "assistant_id",
        *_each("additional_messages", _MESSAGE),
        *_each("thread.messages", _MESSAGE),
        *(f"thread.{place}" for place in _RESOURCES),
        *_RESOURCES,
    ),
    "uploads/complete": ("part_ids[]",),
    "vector_stores": ("file_ids[]",),
    "vector_stores/file_batches": ("file_ids[]", "files[].file_id"),
    "vector_stores/files": ("file_id",),
    "videos": ("input_reference.file_id",),
}


# What later requests may refer to beside the id of the answer itself.
_IN_ANSWER: Mapping[str, tuple[str, ...]] = {
    "chat/completions": ("choices[].message.audio.id",),
    "responses": (
        "conversation.id",
        "output[].id",
        "output[type=reasoning].encrypted_content",
        "output[type=code_interpreter_call].container_id",
    ),
}


class _Step(Struct, frozen=True):
    """Into the member ``name`` of an object; with ``key``, then into each member of that list, with values
    only into those whose ``key`` has one of these."""

    name: str
    key: str | None = None
    values: frozenset[str] = frozenset()


class _Place(Struct, frozen=True):
    """Where an id may stand. ``names``: the inner names, as a body with such an id must contain them, so that
    large fields without any are not decoded."""

    steps: tuple[_Step, ...]
    names: tuple[bytes, ...]

    def may_be_in(self, raw: bytes) -> bool:
        """Whether all of the inner names are in the body. Nearly always the first is not."""
        names = self.names
        return not names or (names[0] in raw and all(name in raw for name in names[1:]))


ID_MAX_CHARACTERS = 128
PATHS_KEPT = 1_024
_splitter = msgspec.json.Decoder(dict[str, msgspec.Raw])
_STEP = re.compile(r"(\w+)(?:\[(?:(\w+)=([\w|]+))?(\]))?")


def _place(text: str) -> _Place:
    steps = []
    for part in text.split("."):
        match = _STEP.fullmatch(part)
        assert match is not None, text
        name, key, values, is_list = match.groups()
        steps.append(
            _Step(name, key or ("" if is_list else None), frozenset((values or "").split("|")) - {""})
        )
    return _Place(tuple(steps), tuple(f'"{step.name}"'.encode() for step in reversed(steps[1:])))


_PLACES = {path: tuple(_place(text) for text in texts) for path, texts in _IN_BODY.items()}
_ANSWER_PLACES = {path: tuple(_place(text) for text in texts) for path, texts in _IN_ANSWER.items()}


class PathReferences(Struct, frozen=True):
    """A request's path: its ``words`` joined by slashes, the ``ids`` among them, and whether the provider
    holds what lives under it."""

    words: str
    ids: tuple[str, ...]
    stateful: bool


@lru_cache(PATHS_KEPT)
def read_path(path: str) -> PathReferences:
    """The words and ids of a path, which may have a query. Ids are only looked for where there may be some:
    elsewhere, as in ``/models/NAME``, every part is a word."""
    parts = path.partition("?")[0].strip("/").split("/")
    stateful = parts[0] in STATEFUL
    if not stateful and parts[:2] != ["chat", "completions"]:
        return PathReferences("/".join(parts), (), stateful=False)
    words = "/".join(part for part in parts if part in _WORDS)
    return PathReferences(words, tuple(part for part in parts if part not in _WORDS), stateful=stateful)


def ids_in_body(words: str, raw: bytes, fields: Mapping[str, msgspec.Raw]) -> tuple[str, ...]:
    """The ids in a JSON body, each once, in the order of the table. ``words``: of its path; ``fields``: the
    top-level values of ``raw``. Values of another type than the API's are passed over."""
    return _ids_at(_PLACES.get(words, ()), raw, fields)


def ids_in_answer(words: str, raw: bytes) -> tuple[str, ...]:
    """The ids in a whole answer to a request for this path that later requests may refer to."""
    places = [place for place in _ANSWER_PLACES.get(words, ()) if place.may_be_in(raw)]
    if not places:
        return ()
    try:
        return _ids_at(places, raw, _splitter.decode(raw))
    except UNDECODABLE:
        return ()


def _ids_at(places: Iterable[_Place], raw: bytes, fields: Mapping[str, msgspec.Raw]) -> tuple[str, ...]:
    ids: dict[str, None] = {}
    values: dict[str, Any] = {}
    for place in places:
        name = place.steps[0].name
        if name not in fields or not place.may_be_in(raw):
            continue
        if name not in values:
            values[name] = value_in(fields, name)
        ids.update(dict.fromkeys(_values_at({name: values[name]}, place.steps)))
    return tuple(map(_as_id, ids))


def _as_id(value: str) -> str:
    """Encrypted reasoning is its own id, in a short form."""
    if len(value) <= ID_MAX_CHARACTERS:
        return value
    return f"encrypted reasoning {sha256(value.encode('utf-8', 'surrogatepass')).hexdigest()[:32]}"


def value_in(fields: Mapping[str, msgspec.Raw], name: str) -> Any:
    """The value of a top-level field; None without one, or where it is broken."""
    raw = fields.get(name)
    if raw is None:
        return None
    try:
        return msgspec.json.decode(raw)
    except UNDECODABLE:
        return None


def _values_at(value: Any, steps: tuple[_Step, ...]) -> Iterator[str]:
    if not steps:
        if isinstance(value, str) and value:
            yield value
        return
    step, rest = steps[0], steps[1:]
    inner = value.get(step.name) if isinstance(value, dict) else None
    if step.key is None:
        yield from _values_at(inner, rest)
    elif isinstance(inner, list):
        for member in inner:
            if not step.key or (isinstance(member, dict) and _is_one_of(member.get(step.key), step.values)):
                yield from _values_at(member, rest)


def _is_one_of(value: Any, values: frozenset[str]) -> bool:
    return isinstance(value, str) and value in values
