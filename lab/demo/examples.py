"""Where the demo finds its policies, incidents and trace: in `examples/` of a checkout, beside `lab/`."""

from __future__ import annotations

from pathlib import Path

from controller.process.errors import UserError

EXAMPLES = Path(__file__).parents[2] / "examples"


def example(name: str) -> Path:
    """A file or directory of `examples/`. Raises UserError if it isn't there."""
    path = EXAMPLES / name
    if not path.exists():
        raise UserError(
            f"{path} does not exist: the demo reads its policy, incidents and trace from a checkout of "
            "Tieline; run script/demo there"
        )
    return path
