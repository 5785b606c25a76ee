"""`tieline contract`: prints the contract with producers as an AsyncAPI 3 document, made from the code.

`--write` puts the document, a JSON Schema for each event, and golden records into a directory, and `--check`
compares a directory with the code. `verify` says of the records in a file what is wrong with each, and what
to write instead. None of it needs Kafka, Redis or a policy.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

EXIT_FAULTY = 1
REMEDY = "write it again with `tieline contract --write {place}`"


def add_parser(subparsers: Any) -> None:
    """Adds the subcommand and its own."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "contract",
        usage="tieline contract [--json] [--write DIR | --check DIR]\n       tieline contract verify FILE",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    ways = parser.add_mutually_exclusive_group()
    ways.add_argument("--write", metavar="DIR", help="write document, schemas and golden records there")
    ways.add_argument("--check", metavar="DIR", help="fail unless this directory matches the code")
    parser.add_argument("--json", action="store_true", help="the document, or the answer, as JSON")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", prog="tieline contract")
    verify = verbs.add_parser("verify", help="say what is wrong with the records in a file")
    verify.add_argument("file", metavar="FILE", help="records as JSON, one a line; - for standard input")
    verify.add_argument("--json", action="store_true", help="one JSON object instead of text")


def run(args: argparse.Namespace) -> int:
    """Returns 0, or 1 if records are refused or a directory doesn't match the code. Raises InputError."""
    if args.verb == "verify":
        from controller.cli.contract_verify import verify

        return verify(args.file, as_json=args.json)
    from controller.cli.contract_document import as_yaml, document
    from controller.cli.contract_files import contract_files

    if args.write:
        return _write(Path(args.write), contract_files())
    if args.check:
        return _check(Path(args.check), contract_files(), as_json=args.json)
    print(json.dumps(document(), indent=2) if args.json else as_yaml(document()).rstrip())
    return 0


def _write(directory: Path, files: Mapping[str, str]) -> int:
    for name, text in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    for path in _surplus(directory, files):
        path.unlink()
    print(f"{directory}: {len(files)} files")
    return 0


def _check(directory: Path, files: Mapping[str, str], *, as_json: bool) -> int:
    faults = [fault for name, text in files.items() if (fault := _fault(directory / name, text))]
    faults += [f"{path} is not part of the contract" for path in _surplus(directory, files)]
    if as_json:
        print(json.dumps({"faults": faults}))
    elif faults:
        print("\n".join(faults))
        sys.stderr.write(f"The contract does not match the code: {REMEDY.format(place=directory)}.\n")
    else:
        print(f"{directory} matches the code ({len(files)} files)")
    return EXIT_FAULTY if faults else 0


def _fault(path: Path, text: str) -> str:
    try:
        published = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        return f"{path} is missing or can't be read"
    if published == text:
        return ""
    pairs = zip(published.splitlines(), text.splitlines(), strict=False)
    line = next((number for number, (a, b) in enumerate(pairs, 1) if a != b), len(text.splitlines()))
    return f"{path} differs from line {line}"


def _surplus(directory: Path, files: Mapping[str, str]) -> list[Path]:
    """Files in the folders of the contract that no longer belong to it."""
    folders = {(directory / name).parent for name in files}
    expected = {directory / name for name in files}
    present = [path for folder in folders if folder.is_dir() for path in folder.iterdir() if path.is_file()]
    return sorted(path for path in present if path not in expected)
