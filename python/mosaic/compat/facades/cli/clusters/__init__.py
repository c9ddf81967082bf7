"""What mosaic knows of schedulers, where mosaic 1.2 had it: a module for each."""

from mosaic._facade import lazy_names

__all__ = ["pbs", "sge", "slurm"]

__getattr__ = lazy_names(__name__, {}, __all__)
