"""What mosaic knows of Grid Engine."""

from mosaic.compat.clusters import Scheduler

_own = Scheduler("sge", "PE_HOSTFILE")

node_list = _own.node_list
submission_script = _own.submission_script

__all__ = ["node_list", "submission_script"]
