"""How `tieline` reads its arguments: a mistake is one line that says what is wrong and where help is.

argparse prints the usage of a command, several lines of it, before it says what is wrong; and it asks for
missing arguments before it speaks of one that is misspelt.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterable, Sequence
from importlib import import_module
from typing import Any, NoReturn

EXIT_USAGE = 2
_CHOICE = re.compile(
    r"argument (?P<argument>.+?): invalid choice: (?P<typed>'.*?') \(choose from (?P<all>.*)\)"
)
_SIGNED_VALUE = re.compile(r"-\d+(\.\d*)?[smhd%]?\Z")
# Words that other tools use, and the one name that each thing has here. The first name counts that the parser
# has at that place; of a name with several words the first must be there.
SYNONYMS = {
    "thaw": ("unfreeze",),
    "unpause": ("unfreeze",),
    "resume": ("unfreeze",),
    "pause": ("freeze",),
    "lock": ("freeze",),
    "cordon": ("drain",),
    "disable": ("drain",),
    "uncordon": ("undrain",),
    "enable": ("undrain",),
    "bypass": ("override",),
    "mark": ("verdict",),
    "unmark": ("retract",),
    "accept": ("approve",),
    "return": ("failback",),
    "exclude": ("overlay exclude",),
    "blackhole": ("overlay exclude",),
    "check": ("policy check",),
    "apply": ("policy apply",),
    "rollback": ("policy rollback",),
    "diff": ("policy diff",),
    "practise": ("drill",),
    "practice": ("drill",),
    "rehearse": ("drill",),
    "diagnose": ("doctor",),
    "health": ("doctor",),
    "config": ("context",),
    "ctx": ("context",),
    "why": ("explain",),
    "logs": ("history",),
    "log": ("history",),
    "events": ("history",),
    "dlq": ("deadletter",),
    "poison": ("deadletter",),
    "describe": ("explain",),
    "top": ("status --watch",),
    "watch": ("status --watch",),
    "get": ("status",),
    "ps": ("status",),
    "simulate": ("whatif",),
    "predict": ("whatif",),
    "cost": ("spend",),
    "costs": ("spend",),
    "send": ("emit",),
    "publish": ("emit",),
    "serve": ("web",),
    "ui": ("web",),
    "help": ("--help",),
    "version": ("--version",),
    "ls": ("list",),
    "get-contexts": ("list",),
    "retry": ("redrive",),
    "resend": ("redrive",),
    "drop": ("discard",),
    "delete": ("discard",),
    "switch": ("use",),
    "set": ("use",),
    "cat": ("show",),
    "--because": ("--reason",),
    "--message": ("--reason",),
    "--why": ("--reason",),
    "--duration": ("--for",),
    "--ttl": ("--for",),
    "--expires": ("--for",),
    "--user": ("--actor",),
    "--format": ("--json",),
    "--output": ("--json",),
    "--bootstrap-server": ("--kafka",),
    "--since": ("--from",),
    "--until": ("--to",),
}


class Arguments(argparse.ArgumentParser):
    """The parser of `tieline` and of each of its commands. Options take values like ``-10m`` or ``-10%``.

    ``bare_values``: what an option stands for that is typed without ``=VALUE``. It never takes the next word.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        # argparse takes such a text for an option, because to it only plain negative numbers are values.
        self._negative_number_matcher = _SIGNED_VALUE
        self.bare_values: dict[str, str] = {}

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As in argparse, but an option that doesn't exist is a mistake before anything else is one."""
        typed = list(sys.argv[1:] if args is None else args)
        if unknown := self._unknown_option(typed):
            self.error(f"there is no option {unknown}{_near_miss(unknown, self._option_string_actions)}")
        return super().parse_known_args(
            [f"{word}={self.bare_values[word]}" if word in self.bare_values else word for word in typed],
            namespace,
        )

    def error(self, message: str) -> NoReturn:
        """Says in one line what is wrong, on standard error, and exits with status 2."""
        self.exit(EXIT_USAGE, f"{self.prog}: {self._in_words(message)}; `{self.prog} --help` says more\n")

    def _in_words(self, message: str) -> str:
        if message == "the following arguments are required: COMMAND":
            return "give a command, such as `tieline status`"
        if choice := _CHOICE.match(message):
            names = re.findall(r"'(.*?)'", choice["all"])
            kind = "command" if choice["argument"] == "COMMAND" else choice["argument"]
            return f"there is no {kind} {choice['typed']}{_near_miss(choice['typed'].strip(chr(39)), names)}"
        if message.startswith("unrecognized arguments: "):
            return f"nothing takes the argument {message.partition(': ')[2]}"
        return message.replace("the following arguments are required", "these arguments are needed")

    def _unknown_option(self, typed: Sequence[str]) -> str:
        """The first option that was typed and is neither one of this parser's nor the beginning of one."""
        if any(isinstance(action, argparse._SubParsersAction) for action in self._actions):
            return ""  # what follows is for the command to read
        for word in typed:
            name = word.partition("=")[0]
            if word == "--":
                return ""
            if name.startswith("--") and not any(
                option.startswith(name) for option in self._option_string_actions
            ):
                return name
        return ""


def _near_miss(name: str, defined: Iterable[str]) -> str:
    """The name that was perhaps meant: one that other tools have another word for, else the most similar one.

    The checks of a policy are imported only for a mistake.
    """
    names = set(defined)
    for synonym in SYNONYMS.get(name.lower(), ()):
        first = synonym.split()[0]
        if first in names or (first.startswith("--") and not name.startswith("--")):
            return f"; did you mean {synonym}?"
    return str(import_module("controller.core.policy.check").near_miss(name, names))
