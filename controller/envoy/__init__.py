"""`tieline envoy`: Envoy routes requests by the route table, and its outcomes come back to the planner.

In: the table of each workload, read by the client library (`tieline.AsyncClient`), and what Envoy says of
each attempt. Out: a directory of files that Envoy watches, or answers to its polls, and the reports that the
client library sends.

Envoy chooses one cluster for a request and keeps it over all attempts, and within a cluster it prefers
healthy hosts. So each (workload, origin, model) is *one* cluster whose hosts are the pools, with the
table's weights as the hosts' weights: a retry goes to another pool (previous hosts are passed over), and a
pool that Envoy has ejected leaves its share to the others, also while Tieline is gone. What differs between
pools can't differ between the hosts of a cluster: address, TLS, path, name of the model, credential, limits
of time. Therefore each host is an *internal listener* of the same Envoy, one for each pool, behind which
all of this is done:

    front listener -> route by workload, origin, model -> cluster of pools by weight -> pool's listener
        -> model's own name, path, credential -> cluster with the pool's address -> the provider

The rules:

- Only pools of the route's own slice of the table are named for it. Pools that have no weight and that the
  route allows (its weights for the loss of a provider, its last resort) are hosts of a second priority,
  which Envoy uses when none of the first is healthy, or for a last attempt.
- The share to shed is a route before the others, which answers by itself with the table's reason.
- Files are written whole and renamed, in an order in which each step is safe: what is new before what names
  it, and what is gone after nothing names it any more (`directory`). Envoys that ask instead are answered in
  the same order (`discovery`, over HTTP by `serving`). A table that can't be used changes nothing.
- Envoy tells each attempt and each request by its access log over HTTP (`outcomes`). It waits for nobody
  there, and drops what it can't send. From outcomes the client library ejects pools and takes them back by
  its own rules, and the files follow.
- Secrets are in no generated file. They name the operator's own files.

`follower` makes the plan anew whenever something may have changed; `run` is the process. `plan`, `shapes`,
`pools`, `routes`, `resources`, `bootstrap` and `outcomes` are PURE. Tests: tests/unit/controller/envoy; with
the real Envoy, tests/integration/test_envoy*.py. The page: docs/envoy.md.
"""
