"""What mosaic knows of Slurm."""

from mosaic.compat.clusters import Scheduler

_own = Scheduler("slurm", "SLURM_JOB_NODELIST", "SLURM_NODELIST")

node_list = _own.node_list
submission_script = _own.submission_script

__all__ = ["node_list", "submission_script"]
