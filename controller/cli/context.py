"""`tieline context`: which installation commands speak to, by names from the user's own file.

The file is ~/.config/tieline/config.yaml, or config.yaml in $XDG_CONFIG_HOME/tieline, and
`tieline context --help` shows how it is written.
"""

import argparse
import os
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from controller.process.contexts import FIELDS, FLAGS, Contexts, config_path, find, place_of, read_contexts
from controller.process.errors import UserError
from controller.process.settings import add_stack_arguments
from controller.process.telemetry import without_controls, without_password

EXAMPLE = """\
The file maps names to contexts:

  current: prod
  contexts:
    prod:
      kafka: kafka-1:9093,kafka-2:9093
      kafka_sasl: SCRAM-SHA-512
      kafka_user: tieline
      kafka_password_file: kafka-password      # a file beside this one; a password itself is refused
      kafka_tls: true
      redis: rediss://redis-1:6379/0
      namespace: tieline
      key_file: kim.key                        # your private key, to sign orders with
    lab: {kafka: 127.0.0.1:9092, redis: redis://127.0.0.1:6379/0}

A flag such as --kafka counts first, then --context, then variables such as TIELINE_KAFKA, then
TIELINE_CONTEXT, then the current context. Processes that run for long (controller, web, probe) follow a
context only if it is named by --context or TIELINE_CONTEXT."""
ADDABLE = {
    "kafka": "the brokers: host:port, several with commas between",
    "redis": "the URL of Redis, without a password",
    "namespace": "the prefix of topics and keys",
    "key_file": "the file of your private key, to sign orders with",
}
_CONTEXTS_LINE = re.compile(r"^contexts:[ \t]*(#[^\n]*)?\n", re.MULTILINE)
_CURRENT_LINE = re.compile(r"^current:[^\n]*$", re.MULTILINE)
_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9._-]*")


def add_parser(subparsers: Any) -> None:
    """Adds the subcommand."""
    parser = subparsers.add_parser(
        "context",
        description="Shows and chooses the installation that commands speak to.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    listing = verbs.add_parser("list", description="Lists the contexts; * marks the current one.")
    listing.add_argument("--json", action="store_true", help="one JSON object instead of text")
    listing.add_argument("--names", action="store_true", help="only the names, for completion")
    use = verbs.add_parser("use", description="Makes a context the current one, in the file.")
    use.add_argument("name", metavar="CONTEXT", help="a context of the file")
    add = verbs.add_parser(
        "add",
        description="Adds a context to the file. The first one becomes the current one. Other fields, such "
        "as kafka_user, are written into the file by hand.",
    )
    add.add_argument("name", metavar="NAME", help="letters, digits and . _ -, e.g. prod")
    for field, what in ADDABLE.items():
        add.add_argument(f"--{field.replace('_', '-')}", metavar="VALUE", help=what)
    show = verbs.add_parser(
        "show", description="Shows what a command would use now, and where each setting comes from."
    )
    show.add_argument("--json", action="store_true", help="one JSON object instead of text")
    add_stack_arguments(show)


def run(args: argparse.Namespace) -> int:
    """Returns 0. Raises ``UserError`` for a mistake in the file, or a context that is not there."""
    path = config_path(os.environ)
    if path is None:
        raise UserError("there is no place for a context file: set HOME or XDG_CONFIG_HOME")
    if args.verb == "show":
        return _show(args)
    file = read_contexts(path)
    if args.verb == "add":
        fields = {field: value for field in ADDABLE if (value := getattr(args, field)) is not None}
        print(without_controls(add_context(file, args.name, fields)))
    elif args.verb == "use":
        find(file, args.name, "tieline context use")
        use_context(file, args.name)
        print(without_controls(f"context {args.name} is the current one"))
    elif args.json:
        contexts = {name: _shown(fields) for name, fields in file.contexts.items()}
        print(msgspec.json.encode({"current": file.current, "contexts": contexts}).decode())
    elif args.names:
        print(without_controls("\n".join(sorted(file.contexts))))
    else:
        print(without_controls("\n".join(listed(file))))
    return 0


def listed(file: Contexts) -> tuple[str, ...]:
    """One line for each context: ``* prod  Kafka kafka-1:9093  Redis rediss://redis-1:6379/0``."""
    if not file.contexts:
        return (f"{file.path} has no contexts: `tieline context --help` shows how they are written",)
    width = max(map(len, file.contexts))
    lines = []
    for name, fields in sorted(file.contexts.items()):
        shown = _shown(fields)
        mark = "*" if name == file.current else " "
        namespace = f"  namespace {shown['namespace']}" if "namespace" in shown else ""
        kafka, redis = shown.get("kafka", "-"), shown.get("redis", "-")
        lines.append(f"{mark} {name:{width}}  Kafka {kafka}  Redis {redis}{namespace}")
    return tuple(lines)


def add_context(file: Contexts, name: str, fields: Mapping[str, str]) -> str:
    """Writes one more context into the file, and leaves what is there as it is. Returns what was done. Raises
    ``UserError``, for a name that is taken as well."""
    if not _PLAIN_NAME.fullmatch(name):
        raise UserError(f"{name!r} is no name: give letters, digits and . _ -, beginning with a letter")
    if name in file.contexts:
        raise UserError(f"{file.path} already has a context {name}: change it there, or give another name")
    if "kafka" not in fields and "redis" not in fields:
        raise UserError("give --kafka, --redis or both: a context says where an installation is")
    written = ", ".join(f"{field}: {msgspec.json.encode(value).decode()}" for field, value in fields.items())
    line = f"  {name}: {{{written}}}\n"
    try:
        text = file.path.read_text() if file.path.exists() else ""
        if _CONTEXTS_LINE.search(text):
            text = _CONTEXTS_LINE.sub(lambda match: f"{match[0]}{line}", text, count=1)
        elif "contexts:" in text:
            raise UserError(f"{file.path}: write `contexts:` on a line of its own, so that one can be added")
        else:
            text = f"{text}contexts:\n{line}"
        if not file.current:
            text = f"current: {name}\n{_CURRENT_LINE.sub('', text)}"
        file.path.parent.mkdir(parents=True, exist_ok=True)
        file.path.touch(mode=0o600)
        _checked(file.path, text, name)
        _replace(file.path, text)
    except OSError as error:
        raise UserError(f"{file.path} can't be written: {error.strerror}") from None
    current = "" if file.current else ", and is the current one"
    return f"context {name} is in {file.path}{current}"


def _checked(path: Path, text: str, name: str) -> None:
    """Raises ``UserError`` unless the new text is a context file that has the new context."""
    with tempfile.TemporaryDirectory() as directory:
        trial = Path(directory) / path.name
        trial.write_text(text)
        try:
            find(read_contexts(trial), name, "tieline context add")
        except UserError as error:
            raise UserError(str(error).replace(str(trial), str(path))) from None


def use_context(file: Contexts, name: str) -> None:
    """Writes the name into the file's line ``current:`` and leaves everything else as it is.

    Raises ``UserError``.
    """
    text = file.path.read_text()
    line = f"current: {name if _PLAIN_NAME.fullmatch(name) else msgspec.json.encode(name).decode()}"
    if _CURRENT_LINE.search(text):
        text = _CURRENT_LINE.sub(lambda _: line, text, count=1)
    else:
        text = f"{line}\n{text}"
    try:
        _replace(file.path, text)
    except OSError as error:
        raise UserError(f"{file.path} can't be written: {error.strerror}") from None


def _replace(path: Path, text: str) -> None:
    """The file with the new text or the old one, never a part of it, and with the mode that it had."""
    target = path.resolve()
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "w") as stream:
            stream.write(text)
        temporary.chmod(target.stat().st_mode & 0o777)
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _show(args: argparse.Namespace) -> int:
    flags = {field: getattr(args, field) for field in FLAGS}
    place = place_of(flags, os.environ)
    rows = [
        (field, flags.get(field) or place.environment.get(FIELDS[field], ""), origin)
        for field, origin in place.origins.items()
    ]
    if args.json:
        settings = {
            field: {"value": without_password(value), "from": origin} for field, value, origin in sorted(rows)
        }
        print(msgspec.json.encode({"context": place.context, "settings": settings}).decode())
        return 0
    if place.words:
        print(without_controls(place.words))
    for field, value, origin in sorted(rows):
        print(without_controls(f"{field:20} {without_password(value)}  ({origin})"))
    if not rows:
        print("nothing is set: give --kafka and --redis, set variables, or name a context")
    return 0


def _shown(fields: Mapping[str, str]) -> dict[str, str]:
    return {name: without_password(value) for name, value in fields.items()}
