"""Which pools are probed, under which name, with which secret."""

from pathlib import Path

import pytest

from controller.core.policy.policy import Origin, Policy, Pool, Provider, Source, Workload
from controller.probe.targets import ProbeError, plan, secret_files, source
from tests.unit.client.made_tables import Time
from tieline.credentials import Credential, Credentials, Token
from tieline.table import ModelOffer


def policy(*sources: Source) -> Policy:
    offers = (ModelOffer("chat-large", "gpt-4o"), ModelOffer("chat-small", "gpt-4o-mini"))
    pools = (
        Pool("azure/eastus/a", "us", "https://a.example/v1", offers, 100.0, credential="azure-eu"),
        Pool("gcp/us-east1/b", "us", "https://b.example/v1", offers[:1], 100.0),
    )
    return Policy(
        "test", ("us",), (Origin("us"),), (Provider("azure"), Provider("gcp")), pools,
        (Workload("chat", "critical", ("chat-large",)),), sources=sources,
    )  # fmt: skip


KEY = {"TIELINE_CREDENTIAL_AZURE_EU": "k"}


def secrets(
    environment: dict[str, str] | None = None, sources: dict[str, Credential] | None = None
) -> Credentials:
    """Secrets of this environment, and from these sources."""
    return Credentials(sources, Time(), environment or {})


def test_every_model_of_a_pool_is_a_target_under_the_providers_name() -> None:
    """A pool with two models is probed on both in turn."""
    targets, without_secret = plan(policy(), secrets(KEY))
    assert [target.model for target in targets["azure/eastus/a"]] == ["gpt-4o", "gpt-4o-mini"]
    assert without_secret == {}


def test_a_pool_without_its_secret_is_left_out_not_accused() -> None:
    """Probing without a key would report a healthy pool as refusing."""
    targets, without_secret = plan(policy(), secrets())
    assert list(targets) == ["gcp/us-east1/b"]
    assert without_secret == {"azure/eastus/a": "TIELINE_CREDENTIAL_AZURE_EU"}
    with pytest.raises(ProbeError, match="set TIELINE_CREDENTIAL_AZURE_EU"):
        plan(policy(), secrets(), ["azure/eastus/a"])


def test_an_unknown_pool_is_refused_with_those_that_exist() -> None:
    """A misspelt pool never becomes a prober that probes nothing."""
    with pytest.raises(ProbeError, match="azure/eastus/z is not in the policy; it has azure/eastus/a"):
        plan(policy(), secrets(), ["azure/eastus/z"])


def test_only_a_registered_prober_may_speak() -> None:
    """An unregistered source would be dead-lettered, so it isn't started."""
    registered = policy(Source("collector", "status"), Source("prober-eu", "probe"))
    assert source(registered, None) == "prober-eu"
    with pytest.raises(ProbeError, match="it has prober-eu"):
        source(registered, "collector")
    with pytest.raises(ProbeError, match="registers no prober"):
        source(policy(), None)


def test_a_secret_that_no_header_can_carry_is_none() -> None:
    """Every probe with it would fail here, not at the pool."""
    _, without_secret = plan(policy(), secrets({"TIELINE_CREDENTIAL_AZURE_EU": "two words"}))
    assert list(without_secret) == ["azure/eastus/a"]


def test_a_secret_may_come_from_a_function() -> None:
    """Entra's and Google's tokens last an hour; the function is not called before the first probe."""
    calls: list[str] = []

    def token() -> Token:
        calls.append("called")
        return Token("t", 3_600_000)

    targets, without_secret = plan(policy(), secrets(sources={"azure-eu": token}))
    assert targets["azure/eastus/a"][0].credential == "azure-eu"
    assert without_secret == {}
    assert calls == []


def test_a_secret_may_be_a_file_that_is_replaced(tmp_path: Path) -> None:
    """A mounted secret counts, without its line break; each look reads the file as it is then."""
    path = tmp_path / "key"
    path.write_text("one\n")
    files = secret_files(policy(), {"TIELINE_CREDENTIAL_AZURE_EU_FILE": str(path)})
    assert files["azure-eu"]() == "one"
    path.write_text("two\n")
    assert files["azure-eu"]() == "two"
    targets, without_secret = plan(policy(), secrets(sources=dict(files)))
    assert "azure/eastus/a" in targets
    assert without_secret == {}


def test_a_secret_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """At the start, in one sentence with the variable and the path."""
    path = tmp_path / "missing"
    with pytest.raises(
        ProbeError, match=f"TIELINE_CREDENTIAL_AZURE_EU_FILE: {path} can't be read: No such file"
    ):
        secret_files(policy(), {"TIELINE_CREDENTIAL_AZURE_EU_FILE": str(path)})
