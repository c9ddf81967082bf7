"""The monitor's class and its strategies, where mosaic 1.2 had them."""

from mosaic.runtime.roles import Monitor
from mosaic.runtime.strategy import MonitorStrategy, RoundRobin, monitor_strategies

__all__ = ["Monitor", "MonitorStrategy", "RoundRobin", "monitor_strategies"]
