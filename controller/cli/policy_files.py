"""`tieline policy check`, `init` and the text of `show`: policies as files, without Kafka."""

import sys
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from msgspec import Struct
from msgspec.json import encode

from controller.core.policy.policy import Policy, version_of
from controller.policy_file import PolicyError, load_policy
from controller.process.errors import UserError
from controller.process.telemetry import without_controls

EXIT_MISTAKES = 1
TEMPLATE = "small_company.yaml"


class CheckedFile(Struct, frozen=True):
    """One policy file: its ``mistakes``, each with file, line and field; without any, what it holds."""

    file: str
    mistakes: tuple[str, ...] = ()
    version: str = ""
    lineage: str = ""
    pools: int = 0
    workloads: int = 0


def check(names: Sequence[str], *, as_json: bool) -> int:
    """0 when every file is a policy that controllers would take, else 1."""
    results = [_checked(name) for name in names]
    if as_json:
        print(encode(results).decode())
    else:
        for result in results:
            _tell(result)
    return EXIT_MISTAKES if any(result.mistakes for result in results) else 0


def init(name: str | None) -> int:
    """Prints the policy of a small company, or writes it into a new file."""
    text = files("controller.cli").joinpath(TEMPLATE).read_text("utf-8")
    if name is None:
        print(text, end="")
        return 0
    try:
        with Path(name).open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise UserError(f"{name} exists already: name a new file") from None
    except OSError as error:
        raise UserError(f"{name} can't be written: {error.strerror}") from None
    print(f"written to {name}: put your names and figures in, then run `tieline policy check {name}`")
    return 0


def policy_in(name: str) -> Policy:
    """The checked policy in a file. Raises ``UserError`` with all its mistakes."""
    try:
        return load_policy(name)
    except PolicyError as error:
        raise UserError(f"{name} is no policy that controllers would take:\n{error}") from None


def _checked(name: str) -> CheckedFile:
    try:
        policy = load_policy(name)
    except PolicyError as error:
        return CheckedFile(name, error.mistakes)
    return CheckedFile(
        name,
        version=version_of(policy),
        lineage=policy.lineage,
        pools=len(policy.pools),
        workloads=len(policy.workloads),
    )


def _tell(result: CheckedFile) -> None:
    for mistake in result.mistakes:
        sys.stderr.write(f"{without_controls(mistake)}\n")
    if result.mistakes:
        count = len(result.mistakes)
        sys.stderr.write(f"{result.file}: {count} {'mistake' if count == 1 else 'mistakes'}\n")
    else:
        print(
            f"{result.file}: no mistakes; lineage {result.lineage}, {result.pools} pools, "
            f"{result.workloads} workloads, version {result.version[:8]}"
        )
