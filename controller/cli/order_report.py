"""What came of an order: what `--json` prints, and the sentences for people.

The outcome decides the exit status. All of it is printed, whatever the outcome.
"""

from typing import Literal, NamedTuple, TypeAlias

from msgspec import Struct

from controller.cli.agreement import Consent
from controller.cli.signer import Signing
from controller.core.inspect.consequences import Consequences
from controller.status.uptake import Uptake
from tieline.events import Command

Outcome: TypeAlias = Literal[
    "published",
    "pending",
    "dry_run",
    "not_agreed",
    "refused",
    "unanswered",
    "not_projected",
    "not_taken_over",
]
WaitFor: TypeAlias = Literal["", "clients", "idle"]
EXIT_DONE, EXIT_NOT_APPLIED, EXIT_TIMED_OUT, EXIT_PENDING = 0, 1, 3, 4
EXITS: dict[Outcome, int] = {
    "published": EXIT_DONE,
    "pending": EXIT_PENDING,
    "dry_run": EXIT_DONE,
    "not_agreed": EXIT_NOT_APPLIED,
    "refused": EXIT_NOT_APPLIED,
    "unanswered": EXIT_NOT_APPLIED,
    "not_projected": EXIT_NOT_APPLIED,
    "not_taken_over": EXIT_TIMED_OUT,
}


class Choices(NamedTuple):
    """How an order is to be given. ``wait``: for what to wait beyond its publication; ``within_s``: for how
    long at most, for the leader's answer and then for ``wait``."""

    consent: Consent
    dry_run: bool
    as_json: bool
    wait: WaitFor
    within_s: float
    signing: Signing = Signing()


class OrderReport(Struct, frozen=True):
    """One order and what came of it.

    ``outcome``: "published"; "pending": accepted, and another person must sign it; "dry_run" and "not_agreed"
    were not sent; "refused" by the leader; "unanswered" by any; "not_projected": Redis does not have the
    table for clients; "not_taken_over": not all that was waited for came in time. ``why`` says more.
    ``generation``: of the publication that contains the order.
    ``change``: None where nobody could say it. ``clients``: None unless they were waited for.
    """

    order: Command
    outcome: Outcome
    why: str = ""
    generation: str = ""
    change: Consequences | None = None
    clients: Uptake | None = None

    @property
    def exit_status(self) -> int:
        """The exit status of the command."""
        return EXITS[self.outcome]
