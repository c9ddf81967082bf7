"""`mrun` runs a program, which joins what `mrun` has started; its output, its end and its settings."""

import os
import select
import signal
import subprocess
import sys

import pytest

from tests.support.launching import MRUN, Mrun, under_mrun
from tests.support.scripts import ROOT, run_in, run_script

FACTS = """
import os
import select
import signal
import mosaic

async def main(runtime):
    await runtime.wait_for_workers(runtime.num_workers)
    monitor, node = mosaic.get_monitor(), mosaic.get_node()
    print(runtime.mode, runtime.num_workers, [one.uid for one in runtime.nodes])
    print("monitor is mrun:", monitor.pid == os.getppid(), monitor.alive)
    print("node is another:", node.pid not in {os.getpid(), os.getppid()}, node.alive)
    seen = await runtime.submit(lambda: (mosaic.get_monitor().pid, mosaic.get_node().pid)).result()
    print("workers know:", seen == (monitor.pid, node.pid))
    print("threads:", runtime.num_threads)
    print(await runtime.submit(os.getenv, "OMP_NUM_THREADS").result())
    return 7

print(mosaic.run(main))
"""


def test_a_program_joins_what_mrun_has_started():
    out, _ = run_script(FACTS, under=under_mrun("-nw", "3", "-nth", "2"))
    assert out.splitlines() == [
        "local 3 ['node:0']",
        "monitor is mrun: True True",
        "node is another: True True",
        "workers know: True",
        "threads: 2",
        "2",
        "7",
    ]


def test_in_one_process_and_in_local_mode():
    out, _ = run_script(FACTS, under=under_mrun("-nw", "1", "--inproc", "-l"))
    assert out.splitlines() == [
        "local 1 ['node:0']",
        "monitor is mrun: True True",
        "node is another: False True",
        "workers know: True",
        "threads: 1",
        "1",
        "7",
    ]


def test_alone_monitor_and_node_are_the_program_itself():
    out, _ = run_script(
        """
        import os
        import mosaic

        async def main(runtime):
            print(runtime.mode, mosaic.get_monitor().pid == mosaic.get_node().pid == os.getpid())

        mosaic.run(main, num_workers=1)
        """
    )
    assert out == "local True\n"


def test_workers_get_what_the_program_has_at_that_moment():
    program = """
    import os
    import sys
    import mosaic

    os.mkdir("elsewhere")
    os.chdir("elsewhere")
    open("found_there.py", "w").write("value = 5")
    sys.path.insert(0, os.getcwd())
    os.environ["SET_BY_THE_PROGRAM"] = "yes"
    os.environ.pop("DROPPED_BY_THE_PROGRAM")

    def look():
        import found_there
        return (
            found_there.value, os.getcwd(), os.environ["SET_BY_THE_PROGRAM"],
            "DROPPED_BY_THE_PROGRAM" in os.environ, sys.flags.dev_mode, sys.flags.optimize,
        )

    async def main(runtime):
        print(await runtime.submit(look).result() == look(), look()[3])

    mosaic.run(main)
    """
    out, _ = run_script(program, under=under_mrun("-nw", "1"), env={"DROPPED_BY_THE_PROGRAM": "1"})
    assert out == "True False\n"


def test_runs_one_after_the_other():
    program = """
    import asyncio
    import mosaic

    async def main(runtime, number):
        return await runtime.submit(abs, -number).result()

    for number in range(3):
        print(mosaic.run(main, number))

    with mosaic.session() as runtime:
        print(runtime.submit(abs, -3).wait(), runtime.num_workers)

    async def notebook():
        runtime = await mosaic.interactive("on")
        print(await runtime.submit(abs, -4).result(), runtime.mode)
        await mosaic.interactive("off")

    asyncio.run(notebook())
    """
    out, err = run_script(program, under=under_mrun("-nw", "2"))
    assert out.splitlines() == ["0", "1", "2", "3 2", "4 interactive"]
    assert err == ""


def test_programs_one_after_the_other():
    # The second begins while the end of the first is settled.
    program = """
    import mosaic
    async def main(runtime):
        print(await runtime.submit(len, "abc").result(), flush=True)
    mosaic.run(main)
    """
    with Mrun(program, options=("-nw", "1", "bash", "-c", '"$@"; "$@"; "$@"', "-")) as script:
        assert script.wait() == 0
        assert script.stdout == "3\n3\n3\n"
        script.assert_nothing_left()


def test_all_output_comes_in_order():
    program = """
    import sys
    import mosaic

    def talk(lines):
        for number in range(lines):
            print(number, "x" * 100)
        print("last words", file=sys.stderr)

    async def main(runtime):
        await runtime.submit(talk, 20_000, runtime="worker:0:0")

    print("before")
    mosaic.run(main)
    print("after")
    """
    with Mrun(program) as script:
        assert script.wait() == 0
        x = "x" * 100
        expected = [f"[worker:0:0] {number} {x}" for number in range(20_000)]
        assert script.stdout.splitlines() == ["before", *expected, "after"]
        assert "[worker:0:0] last words" in script.stderr.splitlines()


ENDS = {
    "value": ("async def main(runtime): return 5", 0),
    "empty": ("async def main(runtime): pass", 0),
    "failing": ("async def main(runtime): raise ValueError('as asked')", 1),
    "exit": ("async def main(runtime): raise SystemExit(3)", 3),
    "killed": ("def main(runtime): os.kill(os.getpid(), signal.SIGKILL)", 128 + 9),
    "terminated": ("def main(runtime): os.kill(os.getpid(), signal.SIGTERM)", 128 + 15),
}


@pytest.mark.parametrize("end", ENDS)
def test_the_exit_code_is_the_programs(end):
    text, code = ENDS[end]
    program = f"import os, signal, sys\nimport mosaic\n{text}\nmosaic.run(main)\n"
    _, err = run_script(program, under=under_mrun("-nw", "1"), expect=code)
    assert ("ValueError: as asked" in err) == (end == "failing")


@pytest.mark.parametrize("command", ["exit 0", "exit 42", "kill -HUP $$"])
def test_a_command_that_never_starts_mosaic(command, tmp_path):
    code = {"exit 0": 0, "exit 42": 42}.get(command, 129)
    run_in(tmp_path, under_mrun("-nw", "1", "sh", "-c", command), expect=code)
    assert list(tmp_path.iterdir()) == []


def test_commands_that_cannot_be_run(tmp_path):
    _, err = run_in(tmp_path, under_mrun("no-such-program"), expect=127)
    assert "cannot run no-such-program" in err
    text = tmp_path / "text"
    text.write_text("no program")
    _, err = run_in(tmp_path, under_mrun("./text"), expect=126)
    assert "ermission denied" in err


def test_the_key_is_private_and_goes():
    program = """
    import os
    import stat
    from pathlib import Path
    key = Path("mosaic-workspace/monitor.key")
    print(oct(stat.S_IMODE(key.stat().st_mode)), oct(stat.S_IMODE(key.parent.stat().st_mode)))
    print(os.environ["MOSAIC_MONITOR_KEY"] == str(key.absolute()))
    import json
    directory = Path(json.loads(key.read_text())["directory"])
    print(oct(stat.S_IMODE(directory.stat().st_mode)))
    print("secret" not in key.read_text())
    """
    with Mrun(program) as script:
        assert script.wait() == 0
        assert script.stdout.split() == ["0o600", "0o700", "True", "0o700", "True"]
        assert not script.key_path.parent.exists()
        script.assert_nothing_left()


def test_the_folder_stays_if_something_else_is_in_it(tmp_path):
    folder = tmp_path / "mosaic-workspace"
    folder.mkdir(mode=0o755)
    (folder / "result").touch()
    run_in(tmp_path, under_mrun("-nw", "1", "true"))
    assert [path.name for path in folder.iterdir()] == ["result"]


def test_what_the_command_left_running_ends(tmp_path):
    out = tmp_path / "pid"
    run_in(tmp_path, under_mrun("-nw", "1", "sh", "-c", f"sleep 600 & echo $! > {out}"))
    with pytest.raises(ProcessLookupError):
        os.kill(int(out.read_text()), 0)


SETTINGS = """
import logging
import os
import select
import signal
import mosaic

async def main(runtime):
    print(runtime.num_workers, runtime.num_threads)
    print(await runtime.submit(os.getenv, "MOSAIC_LOG_LEVEL").result())
    print(os.environ.get("MOSAIC_PROFILE"), mosaic.logger().is_enabled_for(19))

mosaic.run(main, num_workers={workers})
"""


def test_what_mrun_was_given_counts_for_more_than_what_the_program_asks_for():
    out, err = run_script(
        SETTINGS.replace("{workers}", "3"), under=under_mrun("-nw", "1", "--perf", "--profile")
    )
    assert out.split() == ["1", "1", "perf", "1", "True"]
    assert "num_workers=3, but mrun was given 1" in err


MODE = """
import mosaic

async def main(runtime):
    print(runtime.mode)

mosaic.run(main, num_workers=1)
"""


@pytest.mark.parametrize(
    ("options", "environment", "mode"),
    [
        ([], {}, "local"),
        (["-c"], {}, "cluster"),
        ([], {"SLURM_JOB_NODELIST": "localhost"}, "cluster"),
        (["-l"], {"SLURM_JOB_NODELIST": "localhost"}, "local"),
    ],
    ids=["alone", "asked", "job", "local-job"],
)
def test_the_mode_tells_a_schedulers_job_from_ones_own_machine(options, environment, mode):
    out, _ = run_script(MODE, under=under_mrun(*options), env=environment)
    assert out == f"{mode}\n"


def run_line(*command):
    return subprocess.run(
        [*MRUN, "-nw", "1", *command], capture_output=True, text=True, timeout=40, check=False
    )


@pytest.mark.parametrize(
    ("command", "out"),
    [
        (["echo a  b && echo $((1 + 1)) | cat"], "a b\n2\n"),
        (["SOME_NUMBER=7", "sh", "-c", "echo $SOME_NUMBER"], "7\n"),
        (["SOME_NUMBER=7 sh -c 'echo $SOME_NUMBER'"], "7\n"),
        (["SOME_NUMBER=7", "echo $SOME_NUMBER > /dev/stdout"], "7\n"),
        (["echo", "a  b", "&&", "c"], "a  b && c\n"),
    ],
    ids=["line", "variable", "both", "variable-and-line", "arguments"],
)
def test_a_line_for_a_shell_is_run_by_one(command, out, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = run_line(*command)
    assert (done.returncode, done.stdout) == (0, out), done.stderr


def test_a_missing_program_is_named_and_a_shells_code_is_mruns(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = run_line("no-such-program")
    assert done.returncode == 127
    assert "cannot run no-such-program: there is no such program" in done.stderr
    assert run_line("exit 3; echo").returncode == 3
    done = run_line("A=1", "B=2")
    assert done.returncode == 127
    assert "a command is needed after A=… B=…" in done.stderr


def test_the_openmp_library_that_a_variable_leads_to_is_preloaded(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    library = tmp_path / "sdk" / "compilers" / "lib" / "libgomp.so"
    library.parent.mkdir(parents=True)
    library.touch()
    monkeypatch.setenv("CUDA_HOME", str(tmp_path / "sdk" / "cuda" / "12.3"))
    monkeypatch.setenv("LD_PRELOAD", "")
    # The loader says on standard error that the empty file is no library.
    assert run_line("echo $LD_PRELOAD").stdout == f"{library}\n"
    monkeypatch.delenv("CUDA_HOME")
    assert run_line("echo $LD_PRELOAD").stdout == "\n"


def test_where_mrun_was_given_nothing_the_program_is_free():
    out, err = run_script(SETTINGS.replace("{workers}", "3"), under=MRUN)
    assert out.split()[:2] == ["3", "1"]
    assert err == ""


def test_variables_stand_for_options():
    out, _ = run_script(
        SETTINGS.replace("{workers}", "None"),
        under=MRUN,
        env={"MOSAIC_NUM_WORKERS": "2", "MOSAIC_NUM_THREADS": "3", "MOSAIC_LOG_LEVEL": "debug"},
    )
    assert out.split() == ["2", "3", "debug", "None", "True"]


def test_more_than_the_machine_has_is_a_warning():
    out, err = run_script(SETTINGS.replace("{workers}", "None"), under=under_mrun("-nth", "999"))
    assert out.split()[:2] == ["1", "999"]
    assert "have to share" in err


def test_the_second_program_at_the_same_time_is_told():
    program = """
    import subprocess
    import sys
    import mosaic

    SECOND = "import mosaic; mosaic.run(print)"

    async def main(runtime):
        done = subprocess.run([sys.executable, "-c", SECOND], capture_output=True, text=True)
        print(done.returncode, done.stderr.splitlines()[-1])
        print(await runtime.submit(abs, -1).result())

    mosaic.run(main)
    """
    out, _ = run_script(program, under=under_mrun("-nw", "1"))
    refusal, own = out.splitlines()
    assert refusal.startswith("1 mosaic.errors.MosaicError: the workers of mrun")
    assert "belong to another program" in refusal
    assert own == "1"


def test_a_program_that_a_method_starts_has_a_runtime_of_its_own():
    program = """
    import subprocess
    import sys
    import mosaic

    def nested():
        second = "import mosaic; print(mosaic.run(lambda runtime: runtime.mode, num_workers=1))"
        return subprocess.run([sys.executable, "-c", second], capture_output=True, text=True).stdout

    async def main(runtime):
        print(await runtime.submit(nested).result(), end="")

    mosaic.run(main)
    """
    out, _ = run_script(program, under=under_mrun("-nw", "1"))
    assert out == "local\n"


def test_two_in_one_directory_do_not_mix():
    program = """
    import sys
    import mosaic
    from tests.support.rendezvous import Flag

    async def main(runtime):
        first = sys.argv[1] == "first"
        if first:
            Flag("first").set()
            await Flag("second").wait_async()
        else:
            Flag("second").set()
        print(sys.argv[1], runtime.num_workers)

    mosaic.run(main)
    """
    with Mrun(program, "first", options=("-nw", "1")) as script:
        script.wait_for_flag("first")
        environment = {
            "TMPDIR": str(script.temporary),
            "XDG_RUNTIME_DIR": str(script.temporary),
            "PYTHONPATH": str(ROOT),
        }
        second = [*under_mrun("-nw", "2"), sys.executable, str(script.path), "second"]
        out, err = run_in(script.home, second, env=environment)
        assert out == "second 2\n"
        assert "belongs to another mrun" in err
        assert script.wait() == 0
        assert script.stdout == "first 1\n"
        script.assert_nothing_left()


def test_standard_input_is_the_commands(tmp_path):
    out, _ = run_in(tmp_path, under_mrun("-nw", "1", "cat"), said="through and through")
    assert out == "through and through"


@pytest.mark.parametrize("under", [(), under_mrun("-nw", "1")], ids=["alone", "mrun"])
def test_a_death_is_told_while_nobody_reads_the_output(under):
    program = """
    import os
    import signal
    import sys
    import threading
    import time
    import mosaic
    from tests.support.actors import print_until_nobody_reads
    from tests.support.rendezvous import Flag

    class Stuck:
        # Whoever writes waits, as for a terminal that was stopped.
        released = threading.Event()

        def write(self, text):
            self.released.wait()

        def flush(self):
            pass

    def flood():
        print_until_nobody_reads(b"x" * 100 + b"\\n")
        Flag("flooded").set()
        time.sleep(60)

    async def main(runtime):
        sys.stdout = Stuck()
        flooding = runtime.submit(flood)
        await Flag("flooded").wait_async()
        os.kill(runtime.workers[0].pid, signal.SIGKILL)
        try:
            await flooding
        except mosaic.RuntimeDisconnectedError as error:
            print(error, file=sys.stderr)
        Stuck.released.set()

    mosaic.run(main, num_workers=1)
    """
    _, err = run_script(program, under=under)
    assert "worker:0:0 was killed by signal 9 (SIGKILL" in err


def test_a_profile_is_left_in_the_workspace(tmp_path):
    folder = tmp_path / "mosaic-workspace"
    program = [
        sys.executable,
        "-c",
        "import mosaic; mosaic.run(lambda r: r.submit(abs, -1).wait())",
    ]
    run_in(tmp_path, under_mrun("--profile", "-nw", "1", *program))
    (profile,) = folder.iterdir()
    assert profile.stat().st_size > 0
    # Programs that come to a monitor in the background are told too.
    _, err = run_in(tmp_path, under_mrun("--profile", "--daemon", "-nw", "1"))
    try:
        run_in(tmp_path, program)
        assert len([path for path in folder.iterdir() if path.suffix == profile.suffix]) == 2
    finally:
        pid = int(err.split()[-1])
        ended = os.pidfd_open(pid)
        os.kill(pid, signal.SIGTERM)
        select.select([ended], [], [], 10)
        os.close(ended)
