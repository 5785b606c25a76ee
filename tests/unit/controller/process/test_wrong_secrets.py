"""How often an address may ask, and show a wrong secret."""

from controller.process.wrong_secrets import PEERS_KEPT_MAX, Rates, WrongSecrets


def test_each_address_has_a_rate_of_its_own() -> None:
    """A burst passes, then the rate; the wait told is enough; others don't feel it."""
    rates = Rates(10.0, burst=2.0)
    assert [rates.wait_ms("a", 0) for _ in range(3)] == [0, 0, 100]
    assert rates.wait_ms("b", 0) == 0
    assert rates.wait_ms("a", 99) > 0
    assert rates.wait_ms("a", 100) == 0


def test_who_guesses_is_refused_for_a_minute_and_others_are_not() -> None:
    """Ten different wrong secrets are borne; one more, and the address has to wait."""
    wrong = WrongSecrets()
    for number in range(10):
        wrong.fail("a", 0, f"guess {number}")
    assert wrong.wait_ms("a", 0) == 0
    wrong.fail("a", 0, "guess 10")
    assert (wrong.wait_ms("a", 0), wrong.wait_ms("b", 0)) == (60_000, 0)
    assert wrong.wait_ms("a", 60_000) == 0


def test_an_old_token_that_is_shown_again_and_again_refuses_nobody() -> None:
    """Others may have the same address. What can't be compared counts each time."""
    wrong = WrongSecrets()
    for _ in range(1_000):
        wrong.fail("a", 0, "an old token")
    assert wrong.wait_ms("a", 0) == 0
    for _ in range(11):
        wrong.fail("b", 0)
    assert wrong.wait_ms("b", 0) == 60_000


def test_what_is_remembered_of_those_who_guess_is_bounded() -> None:
    """From however many addresses they do it."""
    wrong = WrongSecrets()
    for number in range(PEERS_KEPT_MAX + 5):
        wrong.fail(f"a{number}", 0, "guess")
    assert len(wrong._digests) == PEERS_KEPT_MAX
