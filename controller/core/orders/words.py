"""Operators' orders in words, for people: the only place where an order becomes a phrase."""

from tieline.events import Command, PolicyChange


def described(command: Command | PolicyChange) -> str:
    """In words: ``drain azure``, ``freeze the whole table``, ``override fresh_capacity for oci``,
    ``pin chat to oci/r/d``, ``countersign cmd-1``, ``decline eu-1 for oci``,
    ``policy 7 (cdaf2e4f)``."""
    if isinstance(command, PolicyChange):
        return f"policy {command.number} ({command.version[:8]})"
    if command.countersigns:
        return f"{command.verb} {command.countersigns.partition('#')[0]}"
    if command.offered is not None:
        return f"accept {command.offered.units_per_s:,.0f} units/s on {command.scope} for {command.offer}"
    if command.offer:
        return f"{command.verb} {command.offer} for {command.scope}"
    scope = "the whole table" if command.scope == "*" else command.scope
    if command.workload:
        return f"{command.verb} {command.workload} to {scope}"
    if command.guard:
        return f"{command.verb} {command.guard} for {scope}"
    return f"{command.verb} {scope} {command.state}{command.mode}".rstrip()
