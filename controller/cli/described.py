"""An operator's order in a few words."""

from tieline.events import Command


def described(command: Command) -> str:
    """Such as ``drain azure``, ``freeze the whole table``, ``override fresh_capacity for azure``."""
    scope = "the whole table" if command.scope == "*" else command.scope
    if command.guard:
        return f"{command.verb} {command.guard} for {scope}"
    return f"{command.verb} {scope} {command.state}".rstrip()
