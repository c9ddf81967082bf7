"""``mscript``: writes the job script that runs a program under ``mrun`` in Slurm, Grid Engine or PBS."""

from __future__ import annotations

import argparse
import os
import re
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mosaic.cli.options import LATER, count


@dataclass(frozen=True)
class Job:
    """What is asked for.

    Parameters
    ----------
    name : str
        The name of the job.
    program : str
        What it runs, for the shell.
    workers, threads : int
        Workers, and threads of each.
    memory : str or None
        Of the machine, with its unit: ``16G``, ``512M``.
    """

    name: str
    program: str
    workers: int
    threads: int
    memory: str | None

    @property
    def cores(self) -> int:
        """Cores for all workers."""
        return self.workers * self.threads

    @property
    def kibibytes(self) -> int:
        """The memory in KiB, 0 if none was asked for."""
        if self.memory is None:
            return 0
        number, unit = re.fullmatch(r"(\d+)([KMGT])", self.memory).groups()  # type: ignore[union-attr]
        return int(number) << {"K": 0, "M": 10, "G": 20, "T": 30}[unit]


def slurm(job: Job) -> list[str]:
    """Return the lines that ask Slurm for a job."""
    lines = [
        f"#SBATCH --job-name={job.name}",
        "#SBATCH --nodes=1",
        "#SBATCH --ntasks=1",
        f"#SBATCH --cpus-per-task={job.cores}",
        f"#SBATCH --output={job.name}-%j.out",
        # mrun hears a minute before the end of the time, and tells the program.
        "#SBATCH --signal=B:TERM@60",
        "##SBATCH --time=1-00:00:00",
        "##SBATCH --partition=NAME",
    ]
    if job.memory is not None:
        lines.insert(4, f"#SBATCH --mem={job.memory}")
    return lines


def sge(job: Job) -> list[str]:
    """Return the lines that ask Grid Engine for a job."""
    lines = [
        "#$ -S /bin/bash",
        f"#$ -N {job.name}",
        "#$ -cwd",
        "#$ -V",
        "#$ -j y",
        f"#$ -o {job.name}-$JOB_ID.out",
        f"#$ -pe {os.environ.get('MOSAIC_SGE_PE', 'smp')} {job.cores}",
        "##$ -l h_rt=24:00:00",
        "##$ -q NAME",
    ]
    if job.memory is not None:
        # Counted for each slot, of which there is one a core.
        lines.insert(7, f"#$ -l h_vmem={-(-job.kibibytes // job.cores)}K")
    return lines


def pbs(job: Job) -> list[str]:
    """Return the lines that ask PBS for a job."""
    memory = "" if job.memory is None else f":mem={job.kibibytes}kb"
    return [
        "#PBS -S /bin/bash",
        f"#PBS -N {job.name}",
        f"#PBS -l select=1:ncpus={job.cores}{memory}",
        "#PBS -j oe",
        "#PBS -V",
        "##PBS -l walltime=24:00:00",
        "##PBS -q NAME",
    ]


SCHEDULERS = {"slurm": slurm, "sge": sge, "pbs": pbs}

_BODY = """\
set -u
cd "${{{directory}:-$PWD}}"

# What the program needs goes here: modules, an environment.

# In place of the shell, so that the scheduler's signals reach it.
exec mrun -n 1 -nw {workers} -nth {threads} {program}
"""

_DIRECTORIES = {"slurm": "SLURM_SUBMIT_DIR", "sge": "SGE_O_WORKDIR", "pbs": "PBS_O_WORKDIR"}


def script(scheduler: str, job: Job) -> str:
    """Return the job script.

    Parameters
    ----------
    scheduler : str
        ``slurm``, ``sge`` or ``pbs``.
    job : Job
        What is asked for.
    """
    body = _BODY.format(
        directory=_DIRECTORIES[scheduler],
        workers=job.workers,
        threads=job.threads,
        program=job.program,
    )
    return "\n".join(["#!/bin/bash -l", *SCHEDULERS[scheduler](job), "", body])


def _memory(text: str) -> str:
    match = re.fullmatch(r"(\d+)\s*([KMGT]?)(?:i?B)?", text.strip(), re.IGNORECASE)
    if match is None or int(match[1]) == 0:
        raise argparse.ArgumentTypeError(
            f"an amount of memory is needed, such as 16G, not {text!r}"
        )
    return match[1] + (match[2].upper() or "G")


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    made = argparse.ArgumentParser(
        prog="mscript",
        description="Write <scheduler>_run.sh, a job script that runs a program under mrun.",
        allow_abbrev=False,
    )
    made.add_argument("scheduler", choices=sorted(SCHEDULERS), help="which scheduler")
    made.add_argument(
        "name",
        metavar="NAME",
        help="the program, NAME.py; or the name of a job, which runs NAME.py if it is there, else forward.py",
    )
    made.add_argument(
        "-n", dest="nodes", type=count, default=1, metavar="NODES", help="machines: 1"
    )
    made.add_argument(
        "-nw", dest="workers", type=count, default=1, metavar="WORKERS", help="workers (1)"
    )
    made.add_argument(
        "-nth", dest="threads", type=count, default=1, metavar="THREADS", help="threads of each (1)"
    )
    made.add_argument(
        "-m",
        dest="memory",
        type=_memory,
        metavar="MEMORY",
        help="memory in GB, or with a unit: 512M",
    )
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the script.

    Parameters
    ----------
    arguments : sequence of str, optional
        The command line; default is that of this process.

    Returns
    -------
    int
        The exit code: 0, or 1 if the file cannot be written; a wrong command line ends with 2.
    """
    made = parser()
    options = made.parse_args(arguments)
    if options.nodes > 1:
        made.error(f"-n {options.nodes}: {LATER}")
    program = options.name if options.name.endswith(".py") else f"{options.name}.py"
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", Path(program).stem).strip("-") or "mosaic"
    if program != options.name and not Path(program).is_file():
        program = "forward.py"
    if not name[0].isalpha():
        # Grid Engine and PBS take no other.
        name = f"m{name}"
    job = Job(
        name=name,
        program=f"python {shlex.quote(program)}",
        workers=options.workers,
        threads=options.threads,
        memory=options.memory,
    )
    path = Path(f"{options.scheduler}_run.sh")
    try:
        path.write_text(script(options.scheduler, job))
        path.chmod(0o755)
    except OSError as error:
        print(f"mscript: {path} cannot be written: {error.strerror}", file=sys.stderr)
        return 1
    print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
