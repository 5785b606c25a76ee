"""The messages of Envoy's external processing, and of gRPC's health checks, as far as the picker uses them.

Field numbers and types are those of ``envoy/service/ext_proc/v3/external_processor.proto`` and
``envoy/config/core/v3/base.proto`` (Envoy 1.40), and of ``grpc/health/v1/health.proto``. What is not listed
here is skipped where it is read and never written. A map is written as a repeated pair, which has the same
bytes. The classes are made when this module is imported, so that no generated code and no package named
``envoy`` is needed. Tested in tests/unit/picker/test_messages.py, and with a real Envoy.
"""

from collections.abc import Mapping
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_PACKAGE = "tieline.picker"
_Field = descriptor_pb2.FieldDescriptorProto
_SCALARS = {
    "string": _Field.TYPE_STRING,
    "bytes": _Field.TYPE_BYTES,
    "bool": _Field.TYPE_BOOL,
    "double": _Field.TYPE_DOUBLE,
    "uint32": _Field.TYPE_UINT32,
}
# Message -> field -> (number, type); ``[]`` before a type: repeated.
FIELDS: Mapping[str, Mapping[str, tuple[int, str]]] = {
    "HeaderValue": {"key": (1, "string"), "value": (2, "string"), "raw_value": (3, "bytes")},
    "HeaderMap": {"headers": (1, "[]HeaderValue")},
    "HttpHeaders": {"headers": (1, "HeaderMap"), "end_of_stream": (3, "bool")},
    "HttpBody": {"body": (1, "bytes"), "end_of_stream": (2, "bool")},
    "HttpTrailers": {"trailers": (1, "HeaderMap")},
    "Value": {
        "number_value": (2, "double"),
        "string_value": (3, "string"),
        "bool_value": (4, "bool"),
        "struct_value": (5, "Struct"),
        "list_value": (6, "ListValue"),
    },
    "ListValue": {"values": (1, "[]Value")},
    "Struct": {"fields": (1, "[]StructField")},
    "StructField": {"key": (1, "string"), "value": (2, "Value")},
    "Metadata": {"filter_metadata": (1, "[]Namespace")},
    "Namespace": {"key": (1, "string"), "value": (2, "Struct")},
    "ProtocolConfiguration": {"request_body_mode": (1, "uint32"), "response_body_mode": (2, "uint32")},
    "ProcessingRequest": {
        "request_headers": (2, "HttpHeaders"),
        "response_headers": (3, "HttpHeaders"),
        "request_body": (4, "HttpBody"),
        "response_body": (5, "HttpBody"),
        "request_trailers": (6, "HttpTrailers"),
        "response_trailers": (7, "HttpTrailers"),
        "metadata_context": (8, "Metadata"),
        "protocol_config": (11, "ProtocolConfiguration"),
    },
    "HeaderValueOption": {"header": (1, "HeaderValue"), "append_action": (3, "uint32")},
    "HeaderMutation": {"set_headers": (1, "[]HeaderValueOption"), "remove_headers": (2, "[]string")},
    "StreamedBodyResponse": {"body": (1, "bytes"), "end_of_stream": (2, "bool")},
    "BodyMutation": {"body": (1, "bytes"), "streamed_response": (3, "StreamedBodyResponse")},
    "CommonResponse": {
        "header_mutation": (2, "HeaderMutation"),
        "body_mutation": (3, "BodyMutation"),
        "clear_route_cache": (5, "bool"),
    },
    "HeadersResponse": {"response": (1, "CommonResponse")},
    "BodyResponse": {"response": (1, "CommonResponse")},
    "TrailersResponse": {"header_mutation": (1, "HeaderMutation")},
    "HttpStatus": {"code": (1, "uint32")},
    "ImmediateResponse": {
        "status": (1, "HttpStatus"),
        "headers": (2, "HeaderMutation"),
        "body": (3, "bytes"),
        "details": (5, "string"),
    },
    "ProcessingResponse": {
        "request_headers": (1, "HeadersResponse"),
        "response_headers": (2, "HeadersResponse"),
        "request_body": (3, "BodyResponse"),
        "response_body": (4, "BodyResponse"),
        "request_trailers": (5, "TrailersResponse"),
        "response_trailers": (6, "TrailersResponse"),
        "immediate_response": (7, "ImmediateResponse"),
        "dynamic_metadata": (8, "Struct"),
    },
    "HealthCheckRequest": {"service": (1, "string")},
    "HealthCheckResponse": {"status": (1, "uint32")},
}
# Of these fields a message has one; ``WhichOneof(ONE_OF)`` names it.
ONE_OF = "part"
_CHOICES = {"ProcessingRequest": range(2, 8), "Value": range(2, 7), "BodyMutation": range(1, 4)}


def _add_field(message: Any, name: str, number: int, kind: str) -> None:
    field = message.field.add(name=name, number=number, label=_Field.LABEL_OPTIONAL)
    if kind.startswith("[]"):
        field.label, kind = _Field.LABEL_REPEATED, kind.removeprefix("[]")
    if kind in _SCALARS:
        field.type = _SCALARS[kind]
    else:
        field.type, field.type_name = _Field.TYPE_MESSAGE, f".{_PACKAGE}.{kind}"
    if number in _CHOICES.get(message.name, ()):
        field.oneof_index = 0


def _classes() -> dict[str, Any]:
    file = descriptor_pb2.FileDescriptorProto(name="tieline_picker.proto", package=_PACKAGE, syntax="proto3")
    for name, fields in FIELDS.items():
        message = file.message_type.add(name=name)
        if name in _CHOICES:
            message.oneof_decl.add(name=ONE_OF)
        for field, (number, kind) in fields.items():
            _add_field(message, field, number, kind)
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    find = pool.FindMessageTypeByName
    return {name: message_factory.GetMessageClass(find(f"{_PACKAGE}.{name}")) for name in FIELDS}


_BY_NAME = _classes()
ProcessingRequest: Any = _BY_NAME["ProcessingRequest"]
ProcessingResponse: Any = _BY_NAME["ProcessingResponse"]
HealthCheckRequest: Any = _BY_NAME["HealthCheckRequest"]
HealthCheckResponse: Any = _BY_NAME["HealthCheckResponse"]
