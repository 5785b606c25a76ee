"""Capacity: what model servers, clusters and quota APIs say, as limits of pools and of quota groups.

In: Prometheus metrics, answers of Prometheus, Kubernetes and providers' quota APIs, and the figures that the
file gives for one replica, one GPU or one unit of a quota. Out: a capacity for each region, and for model
servers whose first tokens come late a statement that the pool is degraded. docs/collecting.md says exactly
what each figure is made of.

- **Silence is no statement.** A replica or a node that could not be read counts as the file says that it is
  there. A pool of which nothing could be read is not stated, and a statement that is over goes on to bound
  its pool while nothing is moved onto it. So no failed request ever makes a capacity smaller, let alone zero.
- **A smaller limit needs a positive sign**: a pod that Kubernetes says is not ready, a GPU that names a fatal
  error, a queue that grows while the measured throughput no longer does, a lower quota.
- **What a server says of itself is no probe.** It does not see the network before it, so its successes would
  speak against clients that can't reach it. Its metrics make capacity, and at most the word "degraded".
- **A round states all pools of a region together**, because an event replaces the one before. Rates are
  differences between two rounds; a counter that fell back, as after a restart, gives none.

    capacity_collector   what all of them have: expiry, names checked against a policy, events by region
    exposition           the text format of Prometheus, bounded; quantiles of histograms
    server_metrics       the names of the metrics of vLLM, SGLang, TensorRT-LLM and other model servers
    model_servers, dcgm, prometheus, kubernetes         one kind each
    quotas, provider_quotas                             quotas of Azure, Google Cloud and Oracle Cloud

Tests: tests/unit/controller/collect/capacity, tests/integration/test_collect_capacity.py.
"""
