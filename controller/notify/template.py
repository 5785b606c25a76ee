"""Texts with names in braces, such as ``{kind} {about}: {text}``, for the bodies of webhooks. Pure.

Only names of ``FIELDS`` may stand in braces. Nothing is evaluated: no attributes, indices, formats or
conversions. Values go into the strings of a body before it is written as JSON, so none can break out.
"""

from collections.abc import Mapping
from string import Formatter
from typing import Any

#: Name -> what stands in its place.
FIELDS: dict[str, str] = {
    "at": "when it happened, RFC 3339",
    "kind": "the kind of the entry, such as forced_move",
    "phase": "begins or ends; empty for what has no length",
    "severity": "info, warning or critical",
    "about": "a pool, a provider, a scope, a workload, a source or table",
    "text": "what happened, in one sentence",
    "who": "the operator or the controller",
    "why": "the reasons, in sentences",
    "generation": "the table's generation, if the entry is about one",
    "until": "when an order ends, RFC 3339",
    "key": "the same for the beginning and the end of a condition",
    "namespace": "the installation",
}
DEPTH_MAX = 8


class TemplateError(ValueError):
    """A template that can't be used; the message says what is wrong with it."""


def check_template(template: Any, depth: int = 0) -> None:
    """Raises ``TemplateError`` unless all strings of the template are texts with known names in braces."""
    if depth > DEPTH_MAX:
        raise TemplateError(f"it is nested more than {DEPTH_MAX} levels deep")
    match template:
        case str():
            _check_text(template)
        case dict():
            for name, part in template.items():
                if not isinstance(name, str):
                    raise TemplateError(f"the name {name!r} of a field must be text")
                check_template(part, depth + 1)
        case list():
            for part in template:
                check_template(part, depth + 1)
        case None | bool() | int() | float():
            pass
        case _:
            raise TemplateError(f"{template!r} can't be written as JSON")


def rendered(template: Any, values: Mapping[str, str]) -> Any:
    """The template with the values in place. It must have passed ``check_template``."""
    match template:
        case str():
            return "".join(
                literal + (values[name] if name else "")
                for literal, name, _, _ in Formatter().parse(template)
            )
        case dict():
            return {name: rendered(part, values) for name, part in template.items()}
        case list():
            return [rendered(part, values) for part in template]
        case _:
            return template


def _check_text(text: str) -> None:
    try:
        parts = list(Formatter().parse(text))
    except ValueError as error:
        raise TemplateError(f"{text!r}: {error}; write {{{{ for a brace") from None
    for _, name, form, conversion in parts:
        if name is None:
            continue
        if name not in FIELDS or form or conversion:
            raise TemplateError(f"{text!r}: in braces may stand {', '.join(FIELDS)}, and nothing else")
