"""A policy's mistakes are named: file, line, field and remedy, all of them at once."""

from pathlib import Path

import msgspec
import pytest

from controller.core.policy.check import ASCENDING, faults
from controller.core.policy.policy import encode_policy, version_of
from controller.core.policy.thresholds import Thresholds
from controller.policy_file import PolicyError, load_policy, parse_policy
from tests.places import EXAMPLE_POLICY

EXAMPLE = EXAMPLE_POLICY


def refused(text: str) -> list[str]:
    """The mistakes of a text that is no policy."""
    with pytest.raises(PolicyError) as error:
        parse_policy(text)
    return list(error.value.mistakes)


def changed(old: str, new: str) -> list[str]:
    """The mistakes of the example with its first ``old`` replaced."""
    text = EXAMPLE.read_text()
    assert old in text
    return refused(text.replace(old, new, 1))


def line_of(part: str) -> int:
    """The line of the example that first contains this."""
    return next(n for n, line in enumerate(EXAMPLE.read_text().splitlines(), 1) if part in line)


def test_the_example_describes_four_clouds_in_six_countries() -> None:
    """At least twelve pools; api goes through one provider only, a spend is committed on another."""
    policy = load_policy(EXAMPLE)
    assert [provider.id for provider in policy.providers] == ["azure", "gcp", "oci", "coreweave"]
    assert len(policy.pools) >= 12
    assert {workload.id: workload.exclusive_provider for workload in policy.workloads} == {
        "chat": None,
        "api": "azure",
        "batch": None,
    }
    assert [spend.provider for spend in policy.committed_spend] == ["coreweave"]
    eu = next(origin for origin in policy.origins if origin.id == "eu")
    assert set(eu.allowed_geographies) == {"eu", "eea", "uk"}


@pytest.mark.parametrize(
    ("old", "new", "where", "said"),
    [
        ("geography: jp", "geographie: jp", "pools[4].geographie", "unknown field; did you mean geography?"),
        ("geography: jp", "geography: jpn", "pools[4].geography", "unknown geography jpn; did you mean jp?"),
        ("kind: fleet", "kind: fleeet", "sources[3].kind", "did you mean fleet?"),
        ("headroom: 0.8", "headroom: 1.8", "headroom", "<= 1.0, got 1.8"),
        ("limit_units_per_s: 20000", "limit_units_per_s: lots", "pools[0].limit_units_per_s", "got 'lots'"),
        (
            "limit_units_per_s: 20000",
            "limit_units_per_s: 20",
            "pools[0].committed_units_per_s",
            "is more than",
        ),
        (
            "exclusive_provider: azure",
            "exclusive_provider: oc",
            "workloads[1].exclusive_provider",
            "mean oci?",
        ),
        ("[eu, eea, uk]", "[eu, mars]", "origins[1].allowed_geographies[1]", "unknown geography mars"),
        ("https://contoso-eastus2", "https://me:key@contoso", "pools[0].url", "without user, password"),
        ("https://contoso-eastus2", "https://${HOST}", "pools[0].url", "variables"),
        ("models: [chat-large]", "models: [chat-larg]", "workloads[0].models[0]", "mean chat-large?"),
        ("- id: azure/westus3", "- id: azure/eastus2", "pools[1].id", "is already pools[0]"),
        (
            "quota_group: azure-europe",
            "quota_group: [azure-eu]",
            "pools[2].quota_group[0]",
            "unknown quota group",
        ),
        (
            "quota_group: azure-europe",
            "quota_group: [azure-europe, azure-europe]",
            "pools[2].quota_group[1]",
            "azure-europe is already quota_group[0]: name it once",
        ),
        (
            "quota_group: azure-europe",
            "quota_group: [azure-europe, b, c, d, e]",
            "pools[2].quota_group",
            "may be in 4 quota groups at most, not in 5",
        ),
        ("quota_group: azure-europe", "quota_group: 5", "pools[2].quota_group", "expected `str | array`"),
        (
            "last_resort: [coreweave/us-east-04/gpt-oss,",
            "last_resort: [coreweave/us-east-03/gpt-oss,",
            "workloads[0].last_resort[0]",
            "unknown pool coreweave/us-east-03/gpt-oss; did you mean coreweave/us-east-04/gpt-oss?",
        ),
        (
            "last_resort: [coreweave/us-east-04/gpt-oss,",
            "last_resort: [coreweave/eu-north-1/gpt-oss,",
            "workloads[0].last_resort[1]",
            "is already last_resort[0]: name it once",
        ),
    ],
)
def test_each_mistake_has_its_place_and_remedy(old: str, new: str, where: str, said: str) -> None:
    """``file:line: field: what``; near misses are suggested."""
    mistakes = changed(old, new)
    assert any(f": {where}: " in mistake and said in mistake for mistake in mistakes), mistakes
    assert all(mistake.startswith("policy.yaml:") for mistake in mistakes)


def test_the_line_is_the_fields_own() -> None:
    """An editor can jump there."""
    assert changed("headroom: 0.8", "headroom: eight")[0].startswith(
        f"policy.yaml:{line_of('headroom: 0.8')}:"
    )


def test_all_mistakes_are_said_at_once() -> None:
    """Nobody repairs one to be told the next; in the order of the file."""
    text = EXAMPLE.read_text().replace("headroom: 0.8", "headroom: 2").replace("kind: probe", "kind: prob")
    mistakes = refused(text)
    assert len(mistakes) == 3
    lines = [int(mistake.split(":")[1]) for mistake in mistakes]
    assert lines == sorted(lines)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "the file is empty"),
        ("- a", "expected fields such as"),
        ("a: [", "not YAML"),
        ("lineage: a\nlineage: b", "given twice"),
        ("lineage: [a, b]", "lineage: expected `str`"),
        ("? [x]\n: 1", "must be plain text"),
        ("a: &x {b: *x}", "unknown field"),
        ("\x00", "not YAML"),
        ("pools: []", "pools: needs at least 1"),
    ],
)
def test_what_is_no_policy_is_refused_in_words(text: str, said: str) -> None:
    """Whatever is in the file: mistakes, never a traceback."""
    assert any(said in mistake for mistake in refused(text))


def test_wrong_types_and_wrong_names_are_said_together() -> None:
    """Who corrects the types of a file need not run the check again to hear of its names."""
    text = EXAMPLE.read_text()
    text = text.replace("kind: fleet", "kind: 7", 1).replace("models: [chat-large]", "models: [chat-larg]", 1)
    mistakes = refused(text.replace("    limit_units_per_s: ", "    limit_units_per_s: many # ", 1))
    assert len(mistakes) == 3, mistakes
    for place in ("sources[3].kind", "workloads[0].models[0]", "pools[0].limit_units_per_s"):
        assert any(place in mistake for mistake in mistakes), (place, mistakes)


@pytest.mark.parametrize("secret", ["hunter2", "p/ss", "a@b", "se cret"])
def test_no_secret_is_repeated(secret: str) -> None:
    """A password in an address, a key in its query, or a secret in the place of a credential's name."""
    address = changed("https://contoso-eastus2", f"https://me:{secret.replace(' ', '')}@contoso-eastus2")
    query = changed("openai.azure.com/openai/v1", f"openai.azure.com/$?api_key={secret.replace(' ', '')}")
    name = changed("credential: azure", f"credential: 'sk {secret}!'")
    assert len(address) == len(query) == len(name) == 1
    assert secret not in str((address, query, name))


@pytest.mark.parametrize(
    ("field", "text"),
    [
        ("requests_per_s", "must be above 0; to keep load away from a pool, drain it"),
        ("concurrency", "must be above 0"),
    ],
)
def test_a_pool_without_any_capacity_is_a_mistake(field: str, text: str) -> None:
    """Zero would take the pool out of use for good, which an order with a reason does better."""
    mistakes = changed("    geography: ", f"    {field}: 0\n    geography: ")
    assert any(f"pools[0].{field}: {text}" in mistake for mistake in mistakes), mistakes


@pytest.mark.parametrize(("low", "high"), ASCENDING)
def test_a_threshold_beyond_its_maximum_is_a_mistake(low: str, high: str) -> None:
    """A least value that is more than the greatest is named with both values."""
    thresholds = msgspec.structs.replace(Thresholds(), **{low: getattr(Thresholds(), high) + 1})
    policy = msgspec.structs.replace(load_policy(EXAMPLE), thresholds=thresholds)
    (fault, *_) = faults(policy)
    assert fault.path == ("thresholds", low)
    assert f"is more than {high}" in fault.text


def test_a_route_without_any_lawful_pool_is_a_mistake() -> None:
    """A policy that forbids everything for a route says so before it is used."""
    mistakes = changed("exclusive_provider: azure", "exclusive_provider: azure\n    allowed_providers: [gcp]")
    assert "workloads[1]: no pool may serve api from us" in mistakes[0]


def test_a_last_resort_that_no_origin_may_use_is_a_mistake() -> None:
    """It says from where which rule forbids it, and what to do; lawful for one origin is enough."""
    named = "exclusive_provider: azure\n    last_resort: [{}]"
    (mistake,) = changed("exclusive_provider: azure", named.format("gcp/europe-west4/gemini-pro"))
    assert mistake.startswith(f"policy.yaml:{line_of('exclusive_provider: azure') + 1}: ")
    assert (
        "workloads[1].last_resort[0]: gcp/europe-west4/gemini-pro may not serve api from any of its origins "
        "(from us, eu, jp: the policy binds this workload to another provider); take it out, or loosen"
    ) in mistake
    (mistake,) = changed("exclusive_provider: azure", "provider_share_max: {oci: 0}\n    " + (
        "last_resort: [oci/uk-london-1/gpt-oss]"
    ))  # fmt: skip
    assert "provider_share_max gives oci nothing of api" in mistake
    parse_policy(
        EXAMPLE.read_text().replace("exclusive_provider: azure", named.format("azure/japaneast/gpt-4o"))
    )


def test_a_file_that_can_not_be_read_is_said(tmp_path: Path) -> None:
    """One clear sentence with the file's name."""
    with pytest.raises(PolicyError, match=r"absent\.yaml: can't be read: No such file"):
        load_policy(tmp_path / "absent.yaml")


def test_the_version_is_of_the_meaning_not_of_the_text() -> None:
    """Comments and layout don't change it, any value does."""
    text = EXAMPLE.read_text()
    policy = parse_policy(text)
    assert version_of(parse_policy("# more words\n" + text)) == version_of(policy)
    assert version_of(parse_policy(text.replace("headroom: 0.8", "headroom: 0.7"))) != version_of(policy)
    assert encode_policy(parse_policy(text)) == encode_policy(policy)


@pytest.mark.parametrize(
    ("spend", "fault"),
    [
        ('{provider: azure, period: term, units: 5, starts: "2025-07-01", ends: "2030-07-01"}', ""),
        ("{provider: azure, period: term, units: 5}", "a term needs starts and ends, each a day"),
        ('{provider: azure, period: year, units: 5, ends: "2030-07-01"}', "a year is of the calendar"),
        (
            '{provider: azure, period: term, units: 5, starts: "2025-07-01", ends: "2025-07-01"}',
            "it must lie after starts, 2025-07-01",
        ),
        (
            '{provider: azure, period: term, units: 5, starts: "2025-02-30", ends: "2025-07-01"}',
            "there is no day 2025-02-30",
        ),
    ],
)
def test_a_term_has_two_days_and_nothing_else_has_any(spend: str, fault: str) -> None:
    """Days that the calendar lacks, or that lie the wrong way round, are mistakes of the file."""
    example = EXAMPLE_POLICY.read_text()
    line = "  - {provider: coreweave, period: year, units: 850000000000}\n"
    text = example.replace(line, f"{line}  - {spend}\n")
    assert text != example
    if not fault:
        assert parse_policy(text).committed_spend[-1].ends == "2030-07-01"
        return
    with pytest.raises(PolicyError, match=fault):
        parse_policy(text)
