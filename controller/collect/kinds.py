"""All kinds of collectors. A new one is imported here and added to the union; its tag is its ``kind``."""

from typing import TypeAlias

from controller.collect.capacity.dcgm import Dcgm
from controller.collect.capacity.kubernetes import Kubernetes
from controller.collect.capacity.model_servers import ModelServers
from controller.collect.capacity.prometheus import Prometheus
from controller.collect.capacity.provider_quotas import AzureUsages, GoogleQuotas, OracleLimits
from controller.collect.feeds.azure import AzureStatus
from controller.collect.feeds.google import GoogleStatus
from controller.collect.feeds.oracle import OracleStatus
from controller.collect.feeds.statusio import StatusIo
from controller.collect.feeds.statuspage import Statuspage

StatusFeeds: TypeAlias = AzureStatus | GoogleStatus | OracleStatus | StatusIo | Statuspage
Metrics: TypeAlias = ModelServers | Dcgm | Prometheus | Kubernetes
ProviderQuotas: TypeAlias = AzureUsages | GoogleQuotas | OracleLimits
AnyCollector: TypeAlias = StatusFeeds | Metrics | ProviderQuotas
