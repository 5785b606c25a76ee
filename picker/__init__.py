"""`tieline picker`: an endpoint picker for Envoy, and for every gateway that calls one.

In: for each HTTP request, over gRPC, the messages of Envoy's external processing (ext_proc). Out: which pool
it goes to, and at which address, by the endpoint picker protocol of the Gateway API Inference Extension
(proposal 004); or an answer of its own where the table sheds the request. And, from the answer's status and
time, the outcome, which the client library reports to the controllers as it reports those of applications.

    messages    the protobuf messages, as far as they are used
    answers     what Envoy is answered, as bytes
    settings    the file: rules from requests to workload and origin, addresses, limits
    endpoints   addresses of pools
    choosing    a pool for a request, by the client library, and the outcome back to it
    exchange    one request's messages in their order, without I/O
    http2       gRPC over HTTP/2, as far as a server of small messages needs it
    server      the gRPC service, health checks, the end
    run         one process; command: `tieline picker`

- **It decides nothing.** Weights, shedding, affinity, ejection and the last resort are the client library's,
  from the table that the controllers published. With all of Tieline gone it picks by its last table.
- **Envoy waits for it twice**: with the request's headers (or its body, where only that names the model) and
  with the answer's. So a pick is a look into memory, and nothing else is waited for.
- **A caller can't choose.** Headers that name an endpoint or a pool are overwritten or removed.
- **What Envoy does not tell is not claimed**: an answer that breaks after its headers counts as good, and
  load is an estimate by the length of the request.

Tests: tests/unit/picker, and tests/integration/test_picker.py with a real Envoy. Why it is built so, with
figures: docs/decisions.
"""
