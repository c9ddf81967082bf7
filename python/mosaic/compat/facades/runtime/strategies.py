"""Names of `mosaic.runtime.strategy`, where mosaic 1.2 had them."""

from mosaic.runtime.strategy import LeastLoaded, MonitorStrategy, RoundRobin, monitor_strategies

__all__ = ["LeastLoaded", "MonitorStrategy", "RoundRobin", "monitor_strategies"]
