"""Prints what the image needs from the package index, one requirement a line.

Out of the two distributions' own pyproject.toml, so that nothing is named twice. The extras are those that
the controller asks of the client library; the client comes from this project, never from an index.
"""

import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
CLIENT = "tieline["


def main() -> None:
    controller, client = (_project(name) for name in ("pyproject.toml", "client/pyproject.toml"))
    needed = controller["dependencies"]
    extras = next(line for line in needed if line.startswith(CLIENT))[len(CLIENT) : -1].split(",")
    lines = [line for line in needed if not line.startswith(CLIENT)] + client["dependencies"]
    for extra in extras:
        lines += client["optional-dependencies"][extra]
    print("\n".join(lines))


def _project(name: str) -> dict:
    return tomllib.loads((ROOT / name).read_text())["project"]


if __name__ == "__main__":
    main()
