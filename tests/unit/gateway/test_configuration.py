"""The file of a gateway: what it may say, and what is said about mistakes in it."""

import pytest

from controller.process.errors import UserError
from gateway.configuration import parse_gateway
from tests.places import ROOT

SMALL = """\
workloads:
  - workload: chat
    origins: [eu, us]
"""
DIGEST = "0" * 64


def mistakes_in(text: str) -> list[str]:
    """The lines about a file that is not taken."""
    with pytest.raises(UserError) as caught:
        parse_gateway(text)
    return str(caught.value).splitlines()


def test_a_file_needs_only_its_workloads() -> None:
    """Everything else has a default; the first origin is where requests start."""
    file = parse_gateway(SMALL)
    assert file.origins("chat") == ("eu", "us")
    assert file.origins("batch") == ()
    assert (file.listen, file.tokens, file.tables) == ("127.0.0.1:8080", (), "")


def test_the_example_is_a_file_that_is_taken() -> None:
    """The documentation leads people to it."""
    file = parse_gateway((ROOT / "examples" / "gateway.yaml").read_text())
    assert len(file.workloads) == 2
    assert {token.name for token in file.tokens} == {"search", "nightly"}


def test_all_mistakes_are_told_at_once() -> None:
    """Each with its line, its field and a remedy."""
    lines = mistakes_in(
        "listn: 1\n"
        "workloads:\n"
        "  - workload: chat\n"
        "    origins: [eu]\n"
        "    path: batch\n"
        "  - workload: chat\n"
        "    origins: []\n"
        "body_max_mib: 0\n"
    )
    assert [line.split(": ")[1] for line in lines] == [
        "listn",
        "workloads[1].origins",
        "body_max_mib",
    ]
    assert "did you mean listen?" in lines[0]


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        (SMALL + "    path: batch\n", "workloads[0].path", "give one such as /batch"),
        (SMALL + "    path: /v1\n", "workloads[0].path", "give one such as /batch"),
        (SMALL + "  - workload: chat\n    origins: [eu]\n", "workloads[1].workload", "already workloads[0]"),
        (SMALL + "tokens:\n  - name: a\n", "tokens[0]", "give either sha256"),
        (SMALL + "tokens:\n  - {name: a, sha256: secret}\n", "tokens[0].sha256", "sha256sum"),
        (
            SMALL + f"tokens:\n  - {{name: a, sha256: '{DIGEST}', workload: chta}}\n",
            "tokens[0].workload",
            "serves no workload chta; it serves chat",
        ),
        (
            SMALL + f"tokens:\n  - {{name: a, sha256: '{DIGEST}', also: [batch]}}\n",
            "tokens[0].also[0]",
            "serves no workload batch",
        ),
        (
            SMALL + f"tokens:\n  - {{name: a, sha256: '{DIGEST}', origin: asia}}\n",
            "tokens[0].origin",
            "chat has no origin asia; it has eu, us",
        ),
        (
            SMALL + f"tokens:\n  - {{name: a, sha256: '{DIGEST}'}}\n  - {{name: a, sha256: '{DIGEST}'}}\n",
            "tokens[1].name",
            "a is already tokens[0]",
        ),
    ],
)
def test_what_contradicts_itself_is_told_with_a_remedy(text: str, place: str, words: str) -> None:
    """A file whose fields have the right types may still not work."""
    (line,) = mistakes_in(text)
    assert f": {place}: " in line
    assert words in line


def test_a_mistake_never_repeats_what_may_be_a_token() -> None:
    """Somebody may write the token itself in the place of its digest."""
    (line,) = mistakes_in(SMALL + "tokens:\n  - {name: a, sha256: my-secret-token}\n")
    assert "my-secret-token" not in line
