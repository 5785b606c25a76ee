"""The manual page: it names every command and option, and nothing in it is taken for a request to troff."""

from __future__ import annotations

import re

from controller.cli.grammar import Grammar, Option, grammar
from controller.cli.man import page

REQUESTS = (".TH", ".SH", ".SS", ".B", ".I", ".TP", ".PP", ".nf", ".fi")


def test_the_page_has_every_command_and_option() -> None:
    """It is made of the parsers, so nothing can be missing from it."""
    whole = grammar()
    text = page(whole, "1.2.3").replace("\\-", "-")
    for command in whole.all():
        if command.path and not command.children:
            assert f".SS tieline {' '.join(command.path)}\n" in text
        for option in command.options:
            assert option.flags[-1] in text or "--help" in option.flags
    assert '"tieline 1.2.3"' in text


def test_text_is_never_a_request() -> None:
    """A line of help that begins with a dot, a quote or a backslash is shown as it is."""
    hostile = "'quoted' and \\fB\n\n.so /etc/passwd"
    options = (Option(("--x",), ".de x", None),)
    child = Grammar(("x",), "", description=hostile, options=options)
    text = page(Grammar((), "", description=hostile, children=(child,)), "1")
    for line in text.splitlines():
        assert not line.startswith(("'", "."), 0) or line.split(" ")[0] in REQUESTS, line
    assert not re.search(r"\\f[^BIR]|\\[^f&e(-]", text)
