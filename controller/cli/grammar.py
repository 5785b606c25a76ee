"""The commands as values, read off their parsers: completion scripts and the manual page are made of them.

Nothing about a command is written twice: a new option is completed and documented as soon as it is parsed.
"""

import argparse
from collections.abc import Iterator
from importlib import import_module
from typing import NamedTuple

from controller.cli import COMMANDS, DESCRIPTION, added_commands
from controller.cli.arguments import Arguments
from controller.core.orders.overridable import OVERRIDABLE

FILES, NAMES, CONTEXTS, TEXT = "files", "names", "contexts", "text"
_OF_FILES = {"FILE", "DIR"}
_OF_NAMES = {"SCOPE", "ROUTE|POOL", "POOL", "WORKLOAD", "PROVIDER", "PROVIDER[/REGION]"}
_NAMED = {"pool", "lose", "scope", "provider", "workload"}


class Value(NamedTuple):
    """What an option or a place takes. ``kind``: files, names of the policy, contexts, or any text.
    ``words``: what it may be, where that is a closed list."""

    kind: str
    words: tuple[str, ...] = ()


class Option(NamedTuple):
    """One option. ``value`` is None for one that takes none; ``metavar`` stands for the value in texts."""

    flags: tuple[str, ...]
    help: str
    value: Value | None = None
    metavar: str = ""


class Positional(NamedTuple):
    """One argument without a flag. ``name`` stands for it in texts."""

    name: str
    help: str
    value: Value
    is_optional: bool = False


class Grammar(NamedTuple):
    """One command, or the whole of `tieline`: ``path`` are the words that lead to it, ``summary`` its line in
    the help of what is above it."""

    path: tuple[str, ...]
    summary: str
    description: str
    epilog: str = ""
    options: tuple[Option, ...] = ()
    positionals: tuple[Positional, ...] = ()
    children: tuple["Grammar", ...] = ()

    @property
    def runs_alone(self) -> bool:
        """Whether it does something without one of its children: it has none, or options of its own."""
        return not self.children or any("--help" not in option.flags for option in self.options)

    def all(self) -> Iterator["Grammar"]:
        """This command and all within it."""
        yield self
        for child in self.children:
            yield from child.all()


def grammar() -> Grammar:
    """Every command that is installed. Imports all of them, which takes a second."""
    commands = {**COMMANDS, **added_commands()}
    parser = Arguments(prog="tieline", description=DESCRIPTION)
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for module in dict.fromkeys(command.module for command in commands.values()):
        import_module(module).add_parser(subparsers)
    whole = _grammar((), "", parser)
    children = [child._replace(summary=commands[child.path[0]].help) for child in whole.children]
    children.sort(key=lambda child: list(commands).index(child.path[0]))
    return whole._replace(children=tuple(children))


def _grammar(path: tuple[str, ...], summary: str, parser: argparse.ArgumentParser) -> Grammar:
    options, positionals, children = [], [], []
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, child in action.choices.items():
                children.append(_grammar((*path, name), child.description or "", child))
        elif action.help == argparse.SUPPRESS:
            continue
        elif action.option_strings:
            takes = None if action.nargs == 0 else _value(action)
            metavar = "" if takes is None else _metavar(action)
            options.append(Option(tuple(action.option_strings), _help(action), takes, metavar=metavar))
        else:
            optional = action.nargs in ("?", "*")
            positionals.append(
                Positional(_metavar(action), _help(action), _value(action), is_optional=optional)
            )
    return Grammar(
        path,
        summary,
        description=parser.description or "",
        epilog=parser.epilog or "",
        options=tuple(options),
        positionals=tuple(positionals),
        children=tuple(children),
    )


def _value(action: argparse.Action) -> Value:
    if action.choices is not None:
        return Value(TEXT, tuple(map(str, action.choices)))
    if action.dest == "guard":
        return Value(TEXT, tuple(OVERRIDABLE))
    if action.dest == "context" or (action.dest == "name" and action.metavar == "CONTEXT"):
        return Value(CONTEXTS)
    metavar = _metavar(action)
    if metavar in _OF_FILES:
        return Value(FILES)
    return Value(NAMES if metavar in _OF_NAMES or action.dest in _NAMED else TEXT)


def _metavar(action: argparse.Action) -> str:
    if isinstance(action.metavar, str):
        return action.metavar
    if action.choices is not None and not action.option_strings:
        return "|".join(map(str, action.choices))
    return action.dest.replace("_", "-").upper()


def _help(action: argparse.Action) -> str:
    return (action.help or "") % {"default": action.default, "prog": "tieline"}
