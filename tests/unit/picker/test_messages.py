"""The messages have the numbers of Envoy's own definitions."""

from picker.messages import FIELDS, ONE_OF, ProcessingRequest, ProcessingResponse


def test_bytes_are_those_of_the_protocol() -> None:
    """A request as Envoy writes it, byte by byte, is read; unknown fields are skipped."""
    header = b"\x0a\x06:path\x00"[:-1].replace(b"\x06", b"\x05") + b"\x1a\x03/v1"
    headers = b"\x0a" + bytes([len(header)]) + header
    http_headers = b"\x0a" + bytes([len(headers)]) + headers + b"\x18\x01"
    raw = b"\x12" + bytes([len(http_headers)]) + http_headers + b"\x5a\x02\x08\x02" + b"\x50\x01"
    message = ProcessingRequest.FromString(raw)
    assert message.WhichOneof(ONE_OF) == "request_headers"
    (row,) = message.request_headers.headers.headers
    assert (row.key, row.raw_value, message.request_headers.end_of_stream) == (":path", b"/v1", True)
    assert message.protocol_config.request_body_mode == 2


def test_an_answer_has_the_bytes_of_the_protocol() -> None:
    """ClearRouteCache is field 5 of CommonResponse, which is field 1 of HeadersResponse, field 1 of the
    answer."""
    message = ProcessingResponse()
    message.request_headers.response.clear_route_cache = True
    assert message.SerializeToString() == b"\x0a\x04\x0a\x02\x28\x01"


def test_no_number_stands_twice() -> None:
    """Two fields of a message with one number could not be told apart."""
    for name, fields in FIELDS.items():
        numbers = [number for number, _ in fields.values()]
        assert len(set(numbers)) == len(numbers), name
