"""What the command line makes of an order before anything is sent."""

import re
from typing import get_args

import pytest
from msgspec.structs import replace

from controller.cli import main
from controller.cli.give_order import check_policy, check_taken_back
from controller.cli.orders import ORDERS
from controller.commands.log import CommandLog
from controller.core.orders.words import described
from controller.core.policy.policy import Provider, encode_policy
from controller.process.errors import UserError
from controller.routes.record import RoutesRecord
from controller.status.words import taken_back_by
from tests.unit.controller.core.made import NOW_MS, policy, pool, workload
from tieline.events import OF_AN_OFFER, TAKES_BACK, Command, Verb
from tieline.table import Generation

NOWHERE = ("--kafka", "127.0.0.1:9")


def order(verb: Verb, scope: str, **more: str) -> Command:
    """Kim's, for a minute."""
    return Command("c", verb, scope, "kim", "why", NOW_MS, NOW_MS + 60_000, **more)  # type: ignore[arg-type]


def published() -> RoutesRecord:
    """Under a policy in which azure acts and returns by itself, and gcp does neither."""
    workloads = (workload("chat"), workload("api", exclusive="azure"))
    given = policy((pool("azure/r"), pool("gcp/r")), workloads)
    providers = (Provider("azure"), Provider("gcp", "recommend", "manual"))
    packed = encode_policy(replace(given, providers=providers))
    return RoutesRecord(Generation("test", 0, 1), NOW_MS, policy=packed)


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("override lawful", "the guard lawful can't be overridden: residency"),
        ("override whole-table", "an empty table"),
        ("override frozen", "tieline unfreeze"),
        ("override fresh_capcity", "did you mean fresh_capacity?"),
        ("override nothing-like-it", "known: fresh_capacity, provider_share"),
        ("override providers_lost --scope oci", "for the whole table"),
        ("override provider_share --scope oci/r", "for whole providers: give oci"),
        ("restore fresh_capcity", "did you mean fresh_capacity?"),
        ("drain *", "drain needs a provider, a region or a pool"),
        ("verdict oci down --for 31d", "at most 30d"),
        ("freeze OCI!", "SCOPE is not valid: give PROVIDER, PROVIDER/REGION or a whole pool name"),
    ],
)
def test_order_that_can_not_be_given_says_why(
    typed: str, expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Status 2 and one sentence, and nobody was asked."""
    words = typed.split()
    times = () if "--for" in words or words[0] in TAKES_BACK else ("--for", "1h")
    assert main([*words, "--reason", "x", *times, *NOWHERE]) == 2
    assert expected in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flag", "value", "expected"),
    [
        ("--reason", "", "--reason must not be empty"),
        ("--reason", "x" * 2_001, "--reason must have at most 2000 characters"),
        ("--actor", "x" * 201, "--actor must have at most 200 characters"),
    ],
)
def test_a_text_that_an_order_does_not_take_names_its_flag(
    flag: str, value: str, expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The operator reads the flag that was typed, not a field of the contract."""
    assert main(["drain", "oci", "--for", "1h", "--reason", "x", flag, value, *NOWHERE]) == 2
    assert expected in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (order("approve", "azure/r"), "azure is in mode act: only a provider in mode recommend"),
        (order("failback", "azure"), "failback of azure is auto"),
        (order("freeze", "azzure"), "did you mean azure?"),
        (order("pin", "azure/r/d", workload="chatt"), "no workload 'chatt'; did you mean chat"),
        (order("failover", "gcp/r/d", workload="api"), "gcp/r/d may not serve api: the policy binds"),
    ],
)
def test_order_that_could_concern_nothing_is_refused(given: Command, expected: str) -> None:
    """The policy in force decides: no such place, nothing to approve, nothing that waits."""
    with pytest.raises(UserError, match=expected):
        check_policy(given, published())


@pytest.mark.parametrize(
    ("typed", "standing", "expected"),
    [
        (
            order("undrain", "azure"),
            (),
            "there is no drain, evacuation or drill of azure to take back: no drain, evacuation or drill is "
            "in force",
        ),
        (
            order("undrain", "azure"),
            (order("drain", "azure/r"),),
            "there is no drain, evacuation or drill of azure to take back: in force are: "
            "drain azure/r, by kim",
        ),
        (
            order("restore", "*", guard="fresh_capacity"),
            (order("override", "oci", guard="fresh_capacity"),),
            "in force are: override fresh_capacity for oci, by kim",
        ),
    ],
)
def test_taking_back_what_is_not_there_says_so(
    typed: Command, standing: tuple[Command, ...], expected: str
) -> None:
    """The order would change nothing, so it is not sent, and what could be meant is named."""
    with pytest.raises(UserError, match=re.escape(expected)):
        check_taken_back(typed, CommandLog(orders=standing), NOW_MS)


def test_taking_back_what_is_there_is_sent() -> None:
    """Exactly this scope and guard."""
    check_taken_back(order("undrain", "azure"), CommandLog(orders=(order("drain", "azure"),)), NOW_MS)


@pytest.mark.parametrize(
    "given",
    [order("approve", "gcp"), order("failback", "gcp/r/d"), order("freeze", "*"), order("drain", "azure")],
)
def test_order_that_concerns_something_passes(given: Command) -> None:
    """A provider, a region, a pool, or the whole table."""
    check_policy(given, published())


def test_every_verb_of_the_contract_can_be_typed() -> None:
    """And nothing that the contract lacks. Others have commands of their own."""
    assert set(ORDERS) == set(get_args(Verb)) - {"countersign", "drill", *OF_AN_OFFER}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (order("drain", "azure"), "tieline undrain azure"),
        (order("evacuate", "azure"), "tieline undrain azure"),
        (order("drill", "azure"), "tieline undrain azure"),
        (order("mode", "oci", mode="observe"), "tieline mode oci policy"),
        (order("failover", "oci/r/d", workload="chat"), "tieline unpin chat oci/r/d"),
        (order("override", "oci", guard="fresh_capacity"), "tieline restore fresh_capacity --scope oci"),
        (order("freeze", "*"), "tieline unfreeze"),
        (order("failback", "oci"), ""),
    ],
)
def test_an_order_names_what_takes_it_back(given: Command, words: str) -> None:
    """As an operator types it; nothing for an order that only its end ends."""
    assert taken_back_by(given) == words


def test_a_mode_needs_its_time_unless_it_ends_another(capsys: pytest.CaptureFixture[str]) -> None:
    """`policy` takes the order back, and needs none."""
    assert main(["mode", "oci", "observe", "--reason", "x", *NOWHERE]) == 2
    assert "give --for TIME" in capsys.readouterr().err
    assert main(["mode", "oci/r", "policy", "--reason", "x", *NOWHERE]) == 2
    assert "mode needs a provider as its scope" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (order("drain", "azure"), "drain azure"),
        (order("freeze", "*"), "freeze the whole table"),
        (order("override", "oci", guard="fresh_capacity"), "override fresh_capacity for oci"),
        (order("verdict", "oci/r", state="down"), "verdict oci/r down"),
        (order("mode", "oci", mode="observe"), "mode oci observe"),
        (order("pin", "oci/r/d", workload="chat"), "pin chat to oci/r/d"),
    ],
)
def test_an_order_reads_as_it_was_typed(given: Command, words: str) -> None:
    """In the answer of the command, and in the list of `tieline status`."""
    assert described(given) == words
