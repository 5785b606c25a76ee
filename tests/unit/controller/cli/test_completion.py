"""Completion: what a real bash offers at each place, and that every shell's script names all commands."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from controller.cli.completion import script
from controller.cli.grammar import Grammar, grammar
from controller.cli.names import names_of, remember

POOLS = ("azure/swedencentral/gpt-4o", "azure/eastus2/gpt-4o", "oci/us-chicago-1/gpt-oss")
ROUTES = ("chat/eu", "chat/us", "api/eu")
ASK = """
source "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
_tieline
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture(scope="module")
def whole() -> Grammar:
    return grammar()


@pytest.fixture
def home(tmp_path: Path, whole: Grammar) -> Path:
    """A home with the script of bash, names, and a file."""
    (tmp_path / "tieline.bash").write_text(script(whole, "bash"))
    (tmp_path / "my-policy.yaml").touch()
    remember(names_of(POOLS, ROUTES), {"HOME": str(tmp_path)})
    return tmp_path


def offered(home: Path, line: str) -> set[str]:
    """What bash offers for the last word of this line."""
    ended = subprocess.run(
        ["bash", "--norc", "-c", ASK, "bash", str(home / "tieline.bash"), *line.split(" ")],
        cwd=home,
        env={"HOME": str(home), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert ended.stderr == ""
    return set(ended.stdout.split())


@pytest.mark.parametrize(
    ("line", "some", "others"),
    [
        ("tieline ", {"status", "drain", "explain", "completion"}, {"--help"}),
        ("tieline un", {"undrain", "unfreeze"}, {"drain"}),
        ("tieline overlay ", {"exclude", "withdraw", "show"}, {"status"}),
        ("tieline drain --re", {"--reason", "--redis"}, {"--for"}),
        ("tieline drain azure/s", {"azure/swedencentral", "azure/swedencentral/gpt-4o"}, {"azure"}),
        ("tieline drain --for 1h az", {"azure"}, {"1h"}),
        ("tieline verdict azure d", {"degraded", "down"}, {"drain"}),
        ("tieline override ", {"fresh_capacity"}, {"azure"}),
        ("tieline explain chat/", {"chat/eu", "chat/us"}, {"chat"}),
        ("tieline probe --policy my", {"my-policy.yaml"}, {"azure"}),
        ("tieline completion ", {"bash", "zsh", "fish"}, {"status"}),
        ("tieline drain azure --reason ", set(), {"azure", "--for"}),
    ],
)
def test_bash_offers_what_fits_the_place(home: Path, line: str, some: set[str], others: set[str]) -> None:
    """Commands, verbs, options, names of the policy, closed lists and files, each where it is taken."""
    words = offered(home, line)
    assert some <= words
    assert not others & words


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_script_has_every_command_and_option(whole: Grammar, shell: str) -> None:
    """What is parsed is completed, in every shell."""
    text = script(whole, shell)
    for command in whole.all():
        for option in command.options:
            flag = option.flags[-1]
            assert (f"-l {flag[2:]}" if shell == "fish" else flag) in text
        assert not command.path or command.path[-1] in text


def test_names_that_a_shell_could_misread_are_left_out() -> None:
    """Only plain names are written into the file that completion reads."""
    names = names_of([*POOLS, "$(reboot)/x/y"], ROUTES)
    assert {"azure", "azure/swedencentral", "azure/swedencentral/gpt-4o", "chat", "chat/eu"} <= set(names)
    assert all(not set(name) & set("$`;&|<>(){}*?[]'\"\\ ") for name in names)


def test_names_that_can_not_be_written_stop_nothing(tmp_path: Path) -> None:
    """A home that is a file, or none: a command goes on without remembering."""
    (tmp_path / "home").touch()
    remember(["azure"], {"HOME": str(tmp_path / "home")})
    remember(["azure"], {})
