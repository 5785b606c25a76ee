"""`tieline man`: prints the manual page, made of what the commands themselves accept.

tieline man > ~/.local/share/man/man1/tieline.1
"""

import argparse
import re
from collections.abc import Iterator
from importlib.metadata import version
from typing import Any

from controller.cli.grammar import Grammar, Option, grammar

EXIT_STATUSES = (
    ("0", "It was done; for status: nothing is wrong."),
    ("1", "It was not done or not confirmed, as the command says; for status and doctor: look at it."),
    ("2", "The arguments are wrong, or a server is away: one sentence says which, and what to do."),
    ("130", "It was interrupted."),
)
VARIABLES = (
    ("TIELINE_KAFKA", "Kafka's bootstrap servers. TIELINE_KAFKA_* set TLS and passwords."),
    ("TIELINE_REDIS", "The address of Redis or Valkey. TIELINE_REDIS_* set TLS and passwords."),
    ("TIELINE_NAMESPACE", "The prefix of topics and keys."),
    ("TIELINE_CONTEXT", "The context to use where no other variable and no flag says more."),
    ("COLUMNS", "How wide tables are in a pipe or a file."),
)
FILES = (
    (
        "~/.config/tieline/config.yaml",
        "Named contexts: tieline context \\-\\-help shows how they are written.",
    ),
    ("~/.cache/tieline/names", "Names that completion offers; it may be removed at any time."),
)


# Options of nearly every command, described once.
COMMON = ("--kafka", "--redis", "--namespace", "--context")


def add_parser(subparsers: Any) -> None:
    """Adds the subcommand."""
    subparsers.add_parser("man", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)


def run(_args: argparse.Namespace) -> int:
    """Returns 0."""
    print(page(grammar(), version("tieline-controller")), end="")
    return 0


def page(whole: Grammar, version_text: str) -> str:
    """The page in the language of man(7)."""
    lines = [
        f'.TH TIELINE 1 "" "tieline {version_text}" "Tieline"',
        ".SH NAME",
        "tieline \\- keeps AI inference requests served when a pool, a region or a provider fails",
        ".SH SYNOPSIS",
        ".B tieline",
        ".I COMMAND",
        "[\\fIarguments\\fR]",
        ".SH DESCRIPTION",
        *_text(whole.description),
        ".SH COMMANDS",
    ]
    for command in whole.all():
        if command.path and command.runs_alone:
            lines += _command(command)
    lines += [".SH COMMON OPTIONS", *_common(whole)]
    for title, rows in (
        ("EXIT STATUS", EXIT_STATUSES),
        ("ENVIRONMENT", VARIABLES),
        ("FILES", FILES),
    ):
        lines.append(f".SH {title}")
        for term, text in rows:
            lines += [".TP", f".B {_escaped(term)}", text]
    return "\n".join(lines) + "\n"


def _command(command: Grammar) -> Iterator[str]:
    name = " ".join(command.path)
    yield f".SS {_escaped(f'tieline {name}')}"
    words = [
        f"[{argument.name}]" if argument.is_optional else argument.name for argument in command.positionals
    ]
    yield f".B {_escaped(' '.join(['tieline', name, *words]))}"
    yield "[\\fIoptions\\fR]"
    yield ".PP"
    yield from _text(command.description)
    for argument in command.positionals:
        yield from (".TP", f".I {_escaped(argument.name)}", *_text(argument.help))
    for option in command.options:
        if option.flags[-1] not in ("--help", *COMMON):
            yield from _option(option)
    if any(option.flags[-1] in COMMON for option in command.options):
        yield from (".PP", "It also takes the common options.")
    if command.epilog:
        yield from (".PP", ".nf", *map(_line, command.epilog.splitlines()), ".fi")


def _common(whole: Grammar) -> Iterator[str]:
    options = {option.flags[-1]: option for command in whole.all() for option in command.options}
    for flag in COMMON:
        if flag in options:
            yield from _option(options[flag])


def _option(option: Option) -> Iterator[str]:
    flags = ", ".join(f"\\fB{_escaped(flag)}\\fR" for flag in option.flags)
    value = f" \\fI{_escaped(option.metavar)}\\fR" if option.metavar else ""
    yield from (".TP", f"{flags}{value}", *_text(option.help))


def _text(text: str) -> Iterator[str]:
    """Paragraphs as they are; indented lines keep their line ends."""
    for number, paragraph in enumerate(re.split(r"\n\s*\n", text.strip())):
        if number:
            yield ".PP"
        lines = paragraph.splitlines()
        if any(line.startswith("  ") for line in lines):
            yield from (".nf", *map(_line, lines), ".fi")
        else:
            yield _line(" ".join(paragraph.split()))


def _line(text: str) -> str:
    """One line of text: a dot or a quote at its beginning would be a request to troff."""
    escaped = _escaped(text)
    return f"\\&{escaped}" if escaped.startswith((".", "'")) else escaped


def _escaped(text: str) -> str:
    return text.replace("\\", "\\e").replace("-", "\\-").replace("`", "\\(ga").replace("'", "\\(aq")
