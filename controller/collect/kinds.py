"""All kinds of collectors. A new one is imported here and added to the union; its tag is its ``kind``."""

from typing import TypeAlias

from controller.collect.capacity.dcgm import Dcgm
from controller.collect.capacity.kubernetes import Kubernetes
from controller.collect.capacity.model_servers import ModelServers
from controller.collect.capacity.prometheus import Prometheus
from controller.collect.feeds.statuspage import Statuspage

AnyCollector: TypeAlias = Statuspage | ModelServers | Dcgm | Prometheus | Kubernetes
