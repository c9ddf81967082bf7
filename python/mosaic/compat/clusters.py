"""Functions of mosaic 1.2 for schedulers, on top of `mosaic.cli.hosts` and `mosaic.cli.mscript`."""

from __future__ import annotations

import os

from mosaic.cli import hosts, mscript


class Scheduler:
    """One of the schedulers.

    Parameters
    ----------
    name : str
        What `mosaic.cli.mscript` calls it.
    *variables : str
        Those in which it names the machines of a job.
    """

    def __init__(self, name: str, *variables: str) -> None:
        self._name = name
        self._variables = variables

    def node_list(self, host_name: str | None = None) -> list[str] | None:
        """Return the machines of this job; None outside of one.

        Parameters
        ----------
        host_name : str, optional
            Accepted and not needed.
        """
        environment = {name: os.environ.get(name, "") for name in self._variables}
        found = hosts.given(environment)
        return None if found is None else found[1]

    def submission_script(
        self,
        name: str,
        num_nodes: int = 1,
        num_workers: int = 1,
        num_threads: int = 1,
        node_memory: float | None = None,
    ) -> str:
        """Return a job script that runs NAME.py under ``mrun``.

        Parameters
        ----------
        name : str
            The name of the job and of the program, without its ending.
        num_nodes, num_workers, num_threads : int
            Machines, workers, and threads of each.
        node_memory : float, optional
            The memory of the machine in GBytes.

        Raises
        ------
        ValueError
            Several machines are asked for.
        """
        if num_nodes != 1:
            raise ValueError(f"num_nodes={num_nodes}: runs on several machines are not there yet")
        memory = None if node_memory is None else f"{round(node_memory * 1024)}M"
        job = mscript.Job(name, f"python {name}.py", num_workers, num_threads, memory)
        return mscript.script(self._name, job)
