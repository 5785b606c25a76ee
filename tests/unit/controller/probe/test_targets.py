"""Which pools are probed, under which name, with which credential."""

import msgspec
import pytest

from controller.core.policy.policy import Origin, Policy, Pool, Provider, Source, Workload
from controller.probe.request import Target
from controller.probe.targets import ProbeError, plan, source, variable_of
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


def test_every_model_of_a_pool_is_a_target_under_the_providers_name() -> None:
    """A pool with two models is probed on both in turn."""
    found = plan(policy(), {"TIELINE_CREDENTIAL_AZURE_EU": "k"})
    assert [target.model for target in found.targets["azure/eastus/a"]] == ["gpt-4o", "gpt-4o-mini"]
    assert found.without_credential == {}


def test_a_pool_without_its_credential_is_left_out_not_accused() -> None:
    """Probing without a key would report a healthy pool as refusing."""
    found = plan(policy(), {})
    assert list(found.targets) == ["gcp/us-east1/b"]
    assert found.without_credential == {"azure/eastus/a": "TIELINE_CREDENTIAL_AZURE_EU"}
    with pytest.raises(ProbeError, match="set TIELINE_CREDENTIAL_AZURE_EU"):
        plan(policy(), {}, ["azure/eastus/a"])


def test_an_unknown_pool_is_refused_with_those_that_exist() -> None:
    """A misspelt pool never becomes a prober that probes nothing."""
    with pytest.raises(ProbeError, match="azure/eastus/z is not in the policy; it has azure/eastus/a"):
        plan(policy(), {}, ["azure/eastus/z"])


def test_only_a_registered_prober_may_speak() -> None:
    """An unregistered source would be dead-lettered, so it isn't started."""
    registered = policy(Source("collector", "status"), Source("prober-eu", "probe"))
    assert source(registered, None) == "prober-eu"
    with pytest.raises(ProbeError, match="it has prober-eu"):
        source(registered, "collector")
    with pytest.raises(ProbeError, match="registers no prober"):
        source(policy(), None)


def test_a_secret_stays_out_of_what_is_printed() -> None:
    """The credential travels in a header and shows nowhere else."""
    target = Target("azure/eastus/a", "https://a.example/v1/", "azure", "gpt-4o", "hush")
    url, headers, body = target.request("probe-1")
    assert "hush" not in repr(target)
    assert headers["authorization"] == "Bearer hush"
    assert url == "https://a.example/v1/chat/completions"
    assert msgspec.json.decode(body)["max_tokens"] == 1


def test_azure_classic_names_the_deployment_in_the_path() -> None:
    """The older API takes no model in the body, and its own key header."""
    url, headers, body = Target("a/b/c", "https://a.example", "azure_classic", "dep", "k").request("probe-1")
    assert url.startswith("https://a.example/openai/deployments/dep/chat/completions?api-version=")
    assert headers["api-key"] == "k"
    assert "model" not in msgspec.json.decode(body)


def test_a_credential_has_one_variable() -> None:
    """Letters and digits in capitals, everything else an underscore."""
    assert variable_of("azure-eu.1") == "TIELINE_CREDENTIAL_AZURE_EU_1"
