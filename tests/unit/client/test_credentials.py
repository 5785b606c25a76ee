"""Secrets: where they come from, when they are fetched anew, and where they never show."""

import asyncio
import logging
from pathlib import Path

import pytest

from tests.unit.client.made_tables import Time
from tests.waiting import until
from tieline.credentials import Credentials, MissingCredentialError, Token, secret_file, variable_of

SECRET = "s3cret-value"


class Counting:
    """A function that gives one token after another, or fails, and may be made to wait."""

    def __init__(self, lasts_ms: int = 400_000) -> None:
        self.calls = 0
        self.fails = False
        self.gate = asyncio.Event()
        self.gate.set()
        self._lasts_ms = lasts_ms

    async def __call__(self) -> Token:
        self.calls += 1
        await self.gate.wait()
        if self.fails:
            raise RuntimeError(SECRET)
        return Token(f"{SECRET}-{self.calls}", self._lasts_ms)


async def until_idle(credentials: Credentials) -> None:
    """Until no fetch is on its way."""
    while credentials._fetches:
        await asyncio.gather(*credentials._fetches.values(), return_exceptions=True)


async def test_secrets_come_from_mapping_function_or_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing secret names the variable to set."""
    credentials = Credentials({"a": "plain", "b": lambda: "called"}, Time())
    assert await credentials.get("a") == ("plain", False, False)
    assert await credentials.get("b") == ("called", True, True)
    monkeypatch.setenv("TIELINE_CREDENTIAL_OCI_UK", "outside")
    assert await credentials.get("oci-uk") == ("outside", False, False)
    with pytest.raises(MissingCredentialError, match="set TIELINE_CREDENTIAL_GCP"):
        await credentials.get("gcp")


async def test_the_environment_may_be_another() -> None:
    """A mapping in place of the process's own."""
    credentials = Credentials(None, Time(), {"TIELINE_CREDENTIAL_A": "elsewhere"})
    assert await credentials.get("a") == ("elsewhere", False, False)


async def test_a_secret_may_lie_in_a_file_that_is_read_again(tmp_path: Path) -> None:
    """As Kubernetes and systemd hand secrets over. A file that is replaced counts within a minute, and at
    once where a provider refuses the former secret. The variable with the secret itself counts before it.
    Either way it is a key, and goes out in the header in which the provider takes keys."""
    file, time = tmp_path / "secret", Time()
    file.write_text("first\n")
    credentials = Credentials(None, time, {"TIELINE_CREDENTIAL_A_FILE": str(file)})
    assert await credentials.get("a") == ("first", False, True)
    file.write_text("second\n")
    assert await credentials.get("a") == ("first", False, True)
    credentials.forget("a", "first")
    assert await credentials.get("a") == ("second", False, True)
    both = {"TIELINE_CREDENTIAL_A_FILE": str(file), "TIELINE_CREDENTIAL_A": "itself"}
    assert await Credentials(None, time, both).get("a") == ("itself", False, False)
    assert secret_file("a", both) is None


async def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """With its variable, and nothing of what is in it."""
    file = tmp_path / "secret"
    credentials = Credentials(None, Time(), {"TIELINE_CREDENTIAL_A_FILE": str(file)})
    with pytest.raises(
        MissingCredentialError, match=r"'a': TIELINE_CREDENTIAL_A_FILE: .*can't be read: No such"
    ):
        await credentials.get("a")
    file.write_bytes(SECRET.encode() + b"\xff")
    with pytest.raises(MissingCredentialError, match="it is not text in UTF-8") as caught:
        await Credentials(None, Time(), {"TIELINE_CREDENTIAL_A_FILE": str(file)}).get("a")
    assert SECRET not in str(caught.value)
    credentials.close()


def test_a_secret_has_one_variable() -> None:
    """Letters and digits in capitals, everything else an underscore."""
    assert variable_of("azure-eu.1") == "TIELINE_CREDENTIAL_AZURE_EU_1"


async def test_a_token_is_fetched_anew_before_it_expires_beside_the_requests() -> None:
    """The old one serves meanwhile; nobody waits."""
    time, source = Time(), Counting()
    credentials = Credentials({"a": source}, time)
    assert await credentials.get("a") == (f"{SECRET}-1", True, True)
    time.pass_ms(299_999)
    await credentials.get("a")
    assert source.calls == 1
    source.gate.clear()
    time.pass_ms(1)
    assert await credentials.get("a") == (f"{SECRET}-1", True, True)
    source.gate.set()
    await until_idle(credentials)
    assert await credentials.get("a") == (f"{SECRET}-2", True, True)
    assert source.calls == 2


async def test_many_requests_make_one_call() -> None:
    """A burst without a token asks once, and a caller that gives up takes nobody's token away."""
    source = Counting()
    credentials = Credentials({"a": source}, Time())
    source.gate.clear()
    waiting = [asyncio.create_task(credentials.get("a")) for _ in range(20)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    await asyncio.sleep(0)
    source.gate.set()
    assert {await task for task in waiting[1:]} == {(f"{SECRET}-1", True, True)}
    assert source.calls == 1


async def test_a_failed_renewal_leaves_the_token_in_use(caplog: pytest.LogCaptureFixture) -> None:
    """Until it expires; the failing function is not asked for each request, and nothing secret is logged."""
    time, source = Time(), Counting()
    credentials = Credentials({"a": source}, time)
    await credentials.get("a")
    source.fails = True
    time.pass_ms(300_000)
    with caplog.at_level(logging.DEBUG):
        for _ in range(10):
            assert await credentials.get("a") == (f"{SECRET}-1", True, True)
            await until_idle(credentials)
    assert source.calls == 2
    assert "RuntimeError" in caplog.text
    assert SECRET not in caplog.text
    time.pass_ms(100_000)
    with pytest.raises(MissingCredentialError, match="RuntimeError") as caught:
        await credentials.get("a")
    assert SECRET not in str(caught.value)


async def test_a_refused_token_is_not_sent_again() -> None:
    """The provider said no: the next request asks for another."""
    source = Counting()
    credentials = Credentials({"a": source}, Time())
    await credentials.get("a")
    await until_idle(credentials)
    credentials.forget("a", f"{SECRET}-1")
    assert await credentials.get("a") == (f"{SECRET}-2", True, True)


async def test_a_burst_of_refusals_calls_the_function_once() -> None:
    """All but the first refusal come when the next token is there: that one has been refused to nobody."""
    time, source = Time(), Counting()
    credentials = Credentials({"a": source}, time)
    await credentials.get("a")
    for _ in range(100):
        credentials.forget("a", f"{SECRET}-1")
        time.pass_ms(1_000)
        assert await credentials.get("a") == (f"{SECRET}-2", True, True)
    assert source.calls == 2
    credentials.forget("a", f"{SECRET}-2")
    assert await credentials.get("a") == (f"{SECRET}-3", True, True)


async def test_a_function_that_gives_a_refused_token_again_is_called_once_a_second() -> None:
    """It has no other; a burst of refusals must not become a burst of calls."""
    time, calls = Time(), list[int]()

    def same() -> Token:
        calls.append(time())
        return Token(SECRET)

    credentials = Credentials({"a": same}, time)
    for _ in range(50):
        await credentials.get("a")
        credentials.forget("a", SECRET)
    assert len(calls) == 2
    time.pass_ms(1_000)
    credentials.forget("a", SECRET)
    await credentials.get("a")
    assert len(calls) == 3


async def test_a_blocking_function_holds_nobody_up() -> None:
    """It runs in a thread, as providers' own libraries need it."""
    loop_thread = asyncio.get_running_loop()

    def blocking() -> str:
        with pytest.raises(RuntimeError, match="no running event loop"):
            asyncio.get_running_loop()
        return SECRET

    assert loop_thread.is_running()
    assert await Credentials({"a": blocking}, Time()).get("a") == (SECRET, True, True)


@pytest.mark.parametrize("wrong", ["", "  ", "two words", "line\nbreak", "ümlaut"])
async def test_what_no_header_can_carry_is_said_without_repeating_it(wrong: str) -> None:
    """An HTTP library would put it into its error."""
    for source in (wrong, lambda: wrong):
        with pytest.raises(MissingCredentialError, match="no header can carry") as caught:
            await Credentials({"a": source}, Time()).get("a")
        assert wrong.strip() == "" or wrong not in str(caught.value)


async def test_a_secrets_own_line_end_does_no_harm() -> None:
    """As files have it."""
    assert await Credentials({"a": f"{SECRET}\n"}, Time()).get("a") == (SECRET, False, False)
    assert SECRET not in repr(Token(SECRET)) + repr(Credentials({"a": SECRET}, Time()))


async def test_a_failing_function_is_an_alarm_until_it_gives_tokens_again() -> None:
    """Requests fail at once meanwhile: it is asked again by a timer, whether or not any request comes, and
    whoever waits for that is told."""
    source, back = Counting(), list[str]()
    credentials = Credentials({"a": source}, Time(), on_back=back.append)
    source.fails = True
    for _ in range(5):
        with pytest.raises(MissingCredentialError, match="'a': its function raised RuntimeError"):
            await credentials.get("a")
    assert source.calls == 1
    assert credentials.alarm == "credential 'a': its function raised RuntimeError"
    source.fails = False
    await until(lambda: bool(back), 5, "the function is asked again")
    assert (back, credentials.alarm, source.calls) == (["a"], "", 2)
    assert credentials.at_hand("a") == (f"{SECRET}-2", True, True)


async def test_closing_ends_the_calls_to_come() -> None:
    """Nothing asks a function of a client that is closed."""
    source = Counting()
    credentials = Credentials({"a": source}, Time())
    source.fails = True
    with pytest.raises(MissingCredentialError):
        await credentials.get("a")
    credentials.close()
    assert (credentials.alarm, credentials._timers) == ("", {})
