"""Reads a policy from YAML. All mistakes are reported at once, each with its file, line and field.

What no type of ``core.policy.policy`` can say, such as a reference to a missing provider, is checked after
the fields (``core.policy.check``).
"""

from pathlib import Path as FilePath
from typing import Any

import msgspec
import yaml

from controller.core.policy.check import faults, name_faults
from controller.core.policy.policy import Policy
from controller.yaml_reading import UnreadableFileError, YamlReading, compose, read_file, shortened

EXAMPLE = "examples/multicloud.yaml"
COLUMNS = 110


class PolicyError(ValueError):
    """A policy file that can't be used. ``str()`` has a line for each mistake: ``file:line: field: what``."""

    def __init__(self, mistakes: list[str]) -> None:
        self.mistakes = tuple(mistakes)
        super().__init__(shortened(mistakes))


def load_policy(path: FilePath | str) -> Policy:
    """The checked policy in a YAML file. Raises ``PolicyError``."""
    file = FilePath(path)
    try:
        data = read_file(file)
    except UnreadableFileError as error:
        raise PolicyError([str(error)]) from None
    return parse_policy(data, name=str(file))


def parse_policy(data: bytes | str, *, name: str = "policy.yaml") -> Policy:
    """The checked policy in YAML text. ``name`` stands for the file in errors. Raises ``PolicyError``."""
    try:
        root = compose(data, name=name, example=EXAMPLE)
    except UnreadableFileError as error:
        raise PolicyError([str(error)]) from None
    reading = YamlReading(name)
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
