"""Prints what the image needs from the package index, one requirement a line.

The requirements are those of the two pyproject.toml files, so none is named twice. Of the controller they
include every extra, because the image runs every command. The client library comes from this project, never
from an index; its extras are those that the controller requires.
"""

import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
CLIENT = "tieline["


def main() -> None:
    controller, client = (_project(name) for name in ("pyproject.toml", "client/pyproject.toml"))
    needed = controller["dependencies"] + [
        line for extra in controller["optional-dependencies"].values() for line in extra
    ]
    extras = next(line for line in needed if line.startswith(CLIENT))[len(CLIENT) : -1].split(",")
    lines = [line for line in needed if not line.startswith(CLIENT)] + client["dependencies"]
    for extra in extras:
        lines += client["optional-dependencies"][extra]
    print("\n".join(lines))


def _project(name: str) -> dict:
    return tomllib.loads((ROOT / name).read_text())["project"]


if __name__ == "__main__":
    main()
