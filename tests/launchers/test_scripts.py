"""`mscript`, `findomp`, `imrun`: what they write, print and become.

The job scripts are run with bash in the environment that their scheduler would give them.
"""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from mosaic.cli import findomp, mscript

MRUN = """\
#!/bin/sh
exec {python} -m mosaic.cli.mrun "$@"
"""

PROGRAM = """
import os
import mosaic

async def main(runtime):
    print(runtime.num_workers, runtime.num_threads, runtime.mode, os.getcwd())

mosaic.run(main)
"""

JOBS = {
    "slurm": lambda home: {
        "SLURM_SUBMIT_DIR": str(home),
        "SLURM_JOB_NODELIST": "node[7]",
        "SLURMD_NODENAME": "node7",
    },
    "sge": lambda home: {
        "SGE_O_WORKDIR": str(home),
        "PE_HOSTFILE": str(_file(home, f"{socket.gethostname()} 6 main.q@here UNDEFINED\n")),
    },
    "pbs": lambda home: {
        "PBS_O_WORKDIR": str(home),
        "PBS_NODEFILE": str(_file(home, f"{socket.gethostname()}\n" * 6)),
    },
}


def _file(home, text):
    path = home / "hosts"
    path.write_text(text)
    return path


def executable(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


@pytest.mark.parametrize("scheduler", JOBS)
def test_the_script_runs_the_program_under_mrun(scheduler, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "inversion.py").write_text(PROGRAM)
    assert mscript.main([scheduler, "inversion", "-n", "1", "-nw", "2", "-nth", "3"]) == 0
    assert capsys.readouterr().out == f"{scheduler}_run.sh\n"
    bin_directory = tmp_path / "bin"
    executable(bin_directory / "mrun", MRUN.format(python=sys.executable))
    # A link would not find the packages of the environment.
    executable(bin_directory / "python", f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    done = subprocess.run(
        ["bash", str(tmp_path / f"{scheduler}_run.sh")],
        cwd="/",
        env=os.environ
        | JOBS[scheduler](tmp_path)
        | {"PATH": f"{bin_directory}{os.pathsep}{os.environ['PATH']}"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=40,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"2 3 cluster {tmp_path}\n"


REQUESTS = {
    "slurm": ["#SBATCH --cpus-per-task=8", "#SBATCH --mem=16G", "#SBATCH --job-name=big"],
    "sge": ["#$ -pe smp 8", "#$ -l h_vmem=2097152K", "#$ -N big"],
    "pbs": ["#PBS -l select=1:ncpus=8:mem=16777216kb", "#PBS -N big"],
}


@pytest.mark.parametrize("scheduler", REQUESTS)
def test_what_is_asked_of_the_scheduler(scheduler, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert mscript.main([scheduler, "run/big.py", "-nw", "4", "-nth", "2", "-m", "16GB"]) == 0
    path = tmp_path / f"{scheduler}_run.sh"
    lines = path.read_text().splitlines()
    assert [line for line in REQUESTS[scheduler] if line not in lines] == []
    assert lines[-1] == "exec mrun -n 1 -nw 4 -nth 2 python run/big.py"
    assert os.access(path, os.X_OK)


def test_memory_without_a_unit_is_in_gigabytes_and_the_shell_is_a_login_shell(
    tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    for scheduler, line in (
        ("slurm", "--mem=50G"),
        ("sge", "h_vmem=52428800K"),
        ("pbs", "mem=52428800kb"),
    ):
        assert mscript.main([scheduler, "job", "-m", "50"]) == 0
        lines = (tmp_path / f"{scheduler}_run.sh").read_text().splitlines()
        assert lines[0] == "#!/bin/bash -l"
        assert [one for one in lines if line in one]


def test_a_name_without_a_program_runs_forward(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there.py").touch()
    for name, program in (("job", "forward.py"), ("there", "there.py"), ("given.py", "given.py")):
        assert mscript.main(["slurm", name]) == 0
        text = (tmp_path / "slurm_run.sh").read_text()
        assert text.endswith(f" python {program}\n")
        assert f"--job-name={name.removesuffix('.py')}\n" in text


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("CUDA_HOME", "sdk/cuda/12.3"),
        ("NVHPC_CUDA_HOME", "sdk/cuda"),
        ("CUDA_ROOT", "sdk/cuda/12.3"),
        ("HPCSDK_HOME", "sdk"),
        ("LD_LIBRARY_PATH", "elsewhere/lib:{}/sdk/cuda/12.3/lib64"),
        ("LD_LIBRARY_PATH", "sdk/compilers/lib"),
    ],
    ids=["cuda-home", "nvhpc", "cuda-root", "hpcsdk", "cuda-libraries", "libraries"],
)
def test_findomp_goes_by_variables(variable, value, tmp_path):
    folder = tmp_path / "sdk" / "compilers" / "lib"
    folder.mkdir(parents=True)
    environment = {variable: f"{tmp_path}/{value.format(tmp_path)}"}
    assert findomp.find("", environment) is None
    for name in ("libomp.so", "libiomp5.so", "libgomp.so"):
        (folder / name).touch()
        assert findomp.find("", environment) == str(folder / name)
    assert findomp.find("", {variable: "sdk"}) is None


def test_names_are_made_fit_for_the_scheduler_and_the_shell(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert mscript.main(["sge", "3 shots; rm -rf x.py"]) == 0
    text = (tmp_path / "sge_run.sh").read_text()
    assert "#$ -N m3-shots-rm--rf-x\n" in text
    assert "python '3 shots; rm -rf x.py'\n" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["slurm"], "required: NAME"),
        (["lsf", "name"], "invalid choice: 'lsf'"),
        (["slurm", "name", "-n", "2"], "several machines come later"),
        (["slurm", "name", "-m", "much"], "an amount of memory is needed, such as 16G"),
        (["slurm", "name", "-nw", "0"], "a whole number from 1 on"),
    ],
)
def test_wrong_command_lines(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        mscript.main(arguments)
    assert ended.value.code == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_script_that_cannot_be_written(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pbs_run.sh").mkdir()
    assert mscript.main(["pbs", "name"]) == 1
    assert "pbs_run.sh cannot be written: Is a directory" in capsys.readouterr().err


@pytest.fixture
def toolkit(tmp_path, monkeypatch):
    """A GPU compiler that is found through a link, and its library."""
    executable(tmp_path / "sdk" / "bin" / "nvc", "#!/bin/sh\n")
    library = tmp_path / "sdk" / "lib" / "libnvomp.so"
    library.parent.mkdir()
    library.touch()
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "nvc").symlink_to(tmp_path / "sdk" / "bin" / "nvc")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    return library


def test_the_library_of_a_gpu_compiler_is_found(toolkit, capsys):
    assert findomp.main([]) == 0
    assert capsys.readouterr().out == f"{toolkit}\n"


def test_nothing_is_printed_where_there_is_none(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert findomp.main([]) == 0
    # A compiler without it is none.
    executable(tmp_path / "bin" / "nvc", "#!/bin/sh\n")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert findomp.main([]) == 0
    assert capsys.readouterr().out == ""


def run_imrun(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "mosaic.cli.imrun", *arguments],
        capture_output=True,
        text=True,
        timeout=40,
        check=False,
    )


def test_imrun_becomes_jupyter_with_the_library(toolkit, tmp_path):
    # The loader says on standard error that it is no library; the shell's own word is what counts.
    executable(tmp_path / "bin" / "jupyter", '#!/bin/sh\necho "$LD_PRELOAD" "$@"\nexit 5\n')
    done = run_imrun("lab", "--no-browser")
    assert done.returncode == 5
    assert done.stdout == f"{toolkit} lab --no-browser\n"


def test_imrun_without_jupyter(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    done = run_imrun("lab")
    assert done.returncode == 127
    assert "there is no jupyter here" in done.stderr
