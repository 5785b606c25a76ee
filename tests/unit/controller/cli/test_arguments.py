"""A mistake in the arguments is one line that says what is wrong and where help is."""

import pytest

from controller.cli import main
from controller.cli.arguments import SYNONYMS
from controller.cli.grammar import grammar


def refusal(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """What is written about these arguments; it must be one line, with exit status 2."""
    with pytest.raises(SystemExit) as end:
        main(words)
    written = capsys.readouterr()
    assert end.value.code == 2
    assert not written.out
    assert written.err.count("\n") == 1, written.err
    return written.err


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ((), "tieline: give a command, such as `tieline status`; `tieline --help` says more"),
        (("drian", "azure"), "tieline: there is no command 'drian'; did you mean drain?"),
        (("drain", "azure", "--fro", "5m"), "tieline drain: there is no option --fro; did you mean --for?"),
        (("drain", "azure", "--for", "5m"), "tieline drain: these arguments are needed: --reason"),
        (("verdict", "azure", "dwon", "--for", "5m"), "there is no STATE 'dwon'; did you mean down?"),
        (("status", "azure"), "nothing takes the argument azure"),
        (("emit", "health", "--sorce", "x"), "tieline emit health: there is no option --sorce"),
        (("overlay", "exclude", "azure", "--fro", "5m"), "did you mean --for?"),
        (("thaw",), "tieline: there is no command 'thaw'; did you mean unfreeze?"),
        (("cordon", "azure"), "did you mean drain?"),
        (("uncordon", "azure"), "did you mean undrain?"),
        (("exclude", "azure"), "did you mean overlay exclude?"),
        (("help", "drain"), "did you mean --help?"),
        (("drain", "azure", "--duration", "5m"), "there is no option --duration; did you mean --for?"),
        (("context", "switch", "prod"), "did you mean use?"),
    ],
)
def test_a_mistake_is_one_line(capsys: pytest.CaptureFixture[str], words: tuple[str, ...], text: str) -> None:
    """It names the mistake before anything that is missing because of it, and what was perhaps meant."""
    assert text in refusal(capsys, *words)


def test_a_synonym_names_only_what_is_there() -> None:
    """Each word of another tool leads to a command, a verb or an option, and is none itself where it does."""
    whole = grammar()
    names = {child.path[-1] for child in whole.all() if child.path}
    flags = {flag for child in whole.all() for option in child.options for flag in option.flags}
    for word, targets in SYNONYMS.items():
        firsts = {target.split()[0] for target in targets}
        assert firsts & (names | flags | {"--version"}), f"{word} leads to nothing"
        assert word not in {child.path[0] for child in whole.children}


def test_a_negative_duration_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    """``--for -5m`` is a value that is wrong, not an option that is missing its value."""
    words = ("drain", "azure", "--reason", "x", "--kafka", "127.0.0.1:1", "--for", "-5m")
    assert main(words) == 2
    assert "--for '-5m': give a time like 90s, 30m, 1h or 2d" in capsys.readouterr().err


def test_the_version_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    """`tieline --version` prints one line and needs no servers."""
    with pytest.raises(SystemExit) as end:
        main(["--version"])
    assert end.value.code == 0
    assert capsys.readouterr().out.startswith("tieline 0.")
