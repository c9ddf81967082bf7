"""What mosaic knows of PBS."""

from mosaic.compat.clusters import Scheduler

_own = Scheduler("pbs", "PBS_NODEFILE")

node_list = _own.node_list
submission_script = _own.submission_script

__all__ = ["node_list", "submission_script"]
