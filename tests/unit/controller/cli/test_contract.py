"""`tieline contract`: the document, the kit, and what is said of records in a file."""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec import Struct

from controller.cli import main
from controller.cli.contract_document import CHANNELS, document, schemas
from controller.cli.contract_examples import EXAMPLES, NOW_MS, binary, structured
from controller.cli.contract_files import BY_NAME, contract_files
from controller.cli.contract_records import read_records
from controller.cli.contract_verify import Verdict, judged
from tieline.cloudevents import EVENT_BY_TYPE, Rejection, decode, encode
from tieline.events import EVENT_TYPES, Command

REPORT = binary(BY_NAME["report-full"])


def verdicts(*rows: Any) -> list[Verdict]:
    """What is said of records that stand in a file, one a line."""
    return list(judged(read_records("\n".join(json.dumps(row) for row in rows), "file")))


def unnamed(row: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """A golden record as a producer's own."""
    return {name: value for name, value in row.items() if name != "name"} | changes


def fields_of(value: Any) -> Iterator[tuple[type[Struct], str]]:
    """Every field that is set in an event, with the class that has it."""
    if isinstance(value, Struct):
        for field in msgspec.structs.fields(value):
            item = getattr(value, field.name)
            if field.required or item != field.default:
                yield type(value), field.name
            yield from fields_of(item)
    elif isinstance(value, tuple):
        for item in value:
            yield from fields_of(item)


def test_the_golden_events_set_every_field() -> None:
    """A new field of an event gets its place in an example of ``contract_examples``."""
    present = {pair for example in EXAMPLES for pair in fields_of(example.event)}
    classes = {cls for cls, _ in present}
    missing = {(cls, name) for cls in classes for name in cls.__struct_fields__} - present
    assert {f"{cls.__name__}.{name}" for cls, name in missing} == set()
    assert {type(example.event) for example in EXAMPLES} == set(EVENT_TYPES)


def test_there_is_a_golden_order_of_every_verb() -> None:
    """And each name is used once."""
    verbs = {example.event.verb for example in EXAMPLES if isinstance(example.event, Command)}
    assert verbs == set(schemas()["command.v1"]["properties"]["verb"]["enum"])
    assert len(BY_NAME) == len(EXAMPLES)


def test_every_event_is_on_one_channel() -> None:
    """The document leaves none out."""
    kinds = [kind for _, group in CHANNELS.values() for kind in group]
    assert sorted(kinds, key=repr) == sorted(EVENT_BY_TYPE.values(), key=repr)


def test_the_document_is_for_every_language() -> None:
    """Patterns are those of ECMA 262, which has no end of text, and prose has no Python in it."""
    text = json.dumps([document(), schemas()])
    assert "\\\\Z" not in text
    assert "None" not in text
    assert "``" not in text


def test_the_schemas_say_what_readers_tolerate() -> None:
    """An unknown word that is taken for another is named, and the type of the body may be left out."""
    statement = schemas()["statement.v1"]
    assert "`degraded`" in statement["$defs"]["Claim"]["properties"]["state"]["description"]
    assert "type" not in statement["required"]
    assert "source" in statement["required"]


def test_a_good_record_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line for each, and status 0."""
    file = tmp_path / "records.ndjson"
    file.write_text(
        json.dumps(unnamed(REPORT)) + "\n\n" + json.dumps(unnamed(REPORT["value"] and REPORT, key="x"))
    )
    assert main(["contract", "verify", str(file)]) == 1
    good, wrong, last = capsys.readouterr().out.splitlines()
    assert good == f"{file}:1: good, tieline.report.v1 under the key azure/swedencentral"
    assert wrong.startswith(
        f"{file}:3: key_mismatch: the key should be 'azure/swedencentral'; write the record under"
    )
    assert last == "2 records: 1 as they should be, 1 not"


def test_what_programs_read(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """With --json, codes; from standard input too."""
    monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps(unnamed(REPORT, key="x"))))
    assert main(["contract", "verify", "-", "--json"]) == 1
    answer = json.loads(capsys.readouterr().out)
    assert answer["refused"] == 1
    assert answer["records"][0]["reason"] == Rejection.KEY_MISMATCH


def test_records_as_kcat_prints_them() -> None:
    """Headers in turn, and the body as text."""
    headers = [text for pair in REPORT["headers"].items() for text in pair]
    row = {"topic": "tieline.reports", "partition": 0, "offset": 7, "headers": headers, "key": REPORT["key"]}
    [verdict] = verdicts({**row, "payload": json.dumps(REPORT["value"])})
    assert (verdict.reason, verdict.type) == ("", "tieline.report.v1")
    [verdict] = verdicts({**row, "headers": [["ce_type", "x"]], "payload": "{}"})
    assert verdict.fault == "header ce_specversion is missing"


def test_an_event_alone_is_in_the_structured_mode() -> None:
    """As programs that know only CloudEvents write it; one that spans lines is read as well."""
    event = structured(BY_NAME["report-full"])["value"]
    [verdict] = judged(read_records(json.dumps(event, indent=2), "file"))
    assert (verdict.reason, verdict.key) == ("", "azure/swedencentral")


def test_a_misspelt_field_is_pointed_out() -> None:
    """It is ignored, so nothing else would tell the producer."""
    pools = [{**REPORT["value"]["pools"][0], "first_token_p99": 3.0, "outcomes": {"ok": 1, "error": 2}}]
    [verdict] = verdicts(unnamed(REPORT, value={**REPORT["value"], "pools": pools, "regoin": "x"}))
    assert verdict.reason == ""
    assert verdict.notes == (
        "field pools[0].outcomes.error is not in the contract and is ignored",
        "field pools[0].first_token_p99 is not in the contract and is ignored",
        "field regoin is not in the contract and is ignored",
    )


def test_a_sequence_must_rise_within_its_stream() -> None:
    """A repeated one would change nothing; another incarnation, source or kind of event begins anew."""
    other = {**REPORT["value"], "incarnation": "another", "sequence": 1}
    rows = (unnamed(REPORT), unnamed(REPORT, value=other), unnamed(REPORT))
    reasons = [verdict.reason for verdict in verdicts(*rows, unnamed(binary(BY_NAME["capacity-full"])))]
    assert reasons == ["", "", "unordered", ""]
    assert "42 is not above 42, which the record of line 1 has" in verdicts(*rows)[2].fault


def test_a_record_of_another_topic_or_size_is_refused() -> None:
    """As its topic would do it."""
    [verdict] = verdicts(unnamed(REPORT, topic="other.prefix.commands"))
    assert verdict.reason == Rejection.UNKNOWN_TYPE
    [verdict] = verdicts(unnamed(REPORT, value={**REPORT["value"], "padding": "x" * 1_100_000}))
    assert verdict.reason == Rejection.TOO_LARGE


@pytest.mark.parametrize("name", ["report-full", "order-drain"])
def test_a_golden_record_that_comes_out_otherwise_is_a_fault(name: str) -> None:
    """One that should be refused and is taken, refused elsewhere, or read as something else."""
    row = binary(BY_NAME[name])
    taken, elsewhere = verdicts(
        {**row, "refused_for": "invalid", "place": "x"},
        {**row, "key": "x", "refused_for": "key_mismatch", "place": "another place"},
    )
    assert (taken.reason, elsewhere.reason) == ("unexpected", "unexpected")
    assert verdicts({**row, "read_as": {}})[0].reason == "unexpected"
    assert verdicts({**row, "read_as": row["value"]})[0].reason == ""


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "has no records"),
        ("{", ":1 is not JSON"),
        ("[7]", ":1 is no object"),
        ("{}", ":1 has no headers"),
        ('{"headers": {}}', ":1 has no body"),
        ('{"headers": {}, "value_base64": "%"}', ":1: value_base64 is no base64"),
    ],
)
def test_a_file_without_records_is_the_users_mistake(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, fault: str
) -> None:
    """Status 2 and one sentence; so is a file that isn't there."""
    file = tmp_path / "records.ndjson"
    file.write_text(text)
    assert main(["contract", "verify", str(file)]) == 2
    assert fault in capsys.readouterr().err
    assert main(["contract", "verify", str(tmp_path / "nothing")]) == 2


def test_a_published_directory_is_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What differs, is missing or is too much is named, with the line; writing it again mends it."""
    place = tmp_path / "contract"
    assert main(["contract", "--check", str(place)]) == 1
    assert main(["contract", "--write", str(place)]) == 0
    assert main(["contract", "--check", str(place)]) == 0
    document_file, stray = place / "asyncapi.yaml", place / "schemas" / "old.json"
    document_file.write_text(document_file.read_text().replace("asyncapi: 3.0.0", "asyncapi: 3.1.0"))
    stray.write_text("{}")
    (place / "schemas" / "report.v1.json").unlink()
    capsys.readouterr()
    assert main(["contract", "--check", str(place), "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["faults"] == [
        f"{document_file} differs from line 1",
        f"{place / 'schemas' / 'report.v1.json'} is missing or can't be read",
        f"{stray} is not part of the contract",
    ]
    assert main(["contract", "--write", str(place)]) == 0
    assert not stray.exists()
    assert main(["contract", "--check", str(place)]) == 0


def test_the_document_is_printed_in_both_forms(capsys: pytest.CaptureFixture[str]) -> None:
    """YAML for people, JSON for programs."""
    assert main(["contract"]) == 0
    assert capsys.readouterr().out == contract_files()["asyncapi.yaml"]
    assert main(["contract", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["asyncapi"] == "3.0.0"


def test_golden_events_are_those_of_the_contract() -> None:
    """Each is taken as it is, under its own key."""
    for example in EXAMPLES:
        record = encode(example.event, time_ms=NOW_MS)
        assert decode(record.headers, record.value, record.key) == example.event
