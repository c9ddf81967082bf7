"""`mosaic-workspace/monitor.key`: left over, another's, or for whoever comes."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import mosaic
from mosaic import _core
from mosaic.launcher.join import VARIABLE
from tests.support.launching import MRUN, Mrun, under_mrun
from tests.support.rendezvous import Flag, eventually
from tests.support.scripts import run_in, run_script

ALONE = """
import mosaic
print(mosaic.run(lambda runtime: (runtime.mode, runtime.num_workers), num_workers=1))
"""


def leave_key(home: Path, **changes: object) -> Path:
    """Write a key as an mrun of this version does that has died, with changes."""
    key = {
        "directory": str(home / "tmp" / "mosaic-1-0"),
        "pid": 1,
        "host": os.uname().nodename,
        "protocol": _core.PROTOCOL_VERSION,
        "version": mosaic.__version__,
        "commanded": True,
        "num_workers": 4,
        "num_threads": 1,
        "allocated_workers": True,
        "allocated_threads": False,
        "mode": "cluster",
        "log_level": None,
        "profile": False,
    } | changes
    folder = home / "mosaic-workspace"
    folder.mkdir(mode=0o700)
    path = folder / "monitor.key"
    path.write_text(json.dumps(key))
    path.chmod(0o600)
    return path


def python(text):
    return [sys.executable, "-c", text]


def test_mrun_replaces_a_key_that_was_left_over(tmp_path):
    leave_key(tmp_path)
    out, err = run_in(tmp_path, [*under_mrun("-nw", "1"), *python(ALONE)])
    assert out == "('local', 1)\n"
    assert "left over from an mrun (process 1) that is gone; it is replaced" in err
    assert list(tmp_path.iterdir()) == []


def test_a_program_alone_says_a_word_about_it_and_starts(tmp_path):
    path = leave_key(tmp_path)
    out, err = run_in(tmp_path, python(ALONE))
    assert out == "('local', 1)\n"
    assert "left over from an mrun (process 1) that is gone" in err
    assert path.exists()


def test_the_next_mrun_after_a_massacre(tmp_path):
    first = subprocess.Popen(
        [*under_mrun("-nw", "1"), *python("import time; time.sleep(60)")], cwd=tmp_path
    )
    path = tmp_path / "mosaic-workspace" / "monitor.key"
    eventually(path.exists)
    first.kill()
    first.wait()
    out, _ = run_in(tmp_path, [*under_mrun("-nw", "1"), *python(ALONE)])
    assert out == "('local', 1)\n"
    eventually(lambda: not path.parent.exists(), "nothing left", 2)


@pytest.mark.parametrize(
    "content", ["", "no json", "[]", '{"pid": 1}', "ADDRESS=10.0.0.1\nPORT=3000\n"]
)
def test_a_key_of_something_else_is_replaced(content, tmp_path):
    path = leave_key(tmp_path)
    path.write_text(content)
    path.chmod(0o644)
    _, err = run_in(tmp_path, [*under_mrun("-nw", "1"), "true"])
    assert "was no key of this version; it is replaced" in err


def test_a_key_that_others_can_read_is_not_trusted(tmp_path):
    leave_key(tmp_path).chmod(0o640)
    out, err = run_in(tmp_path, python(ALONE))
    assert out == "('local', 1)\n"
    assert "can be read or written by others (mode 640)" in err


@pytest.mark.root
def test_a_key_of_somebody_else_is_refused(tmp_path):
    path = leave_key(tmp_path)
    os.chown(path, 12345, -1)
    out, err = run_in(tmp_path, python(ALONE))
    assert out == "('local', 1)\n"
    assert "belongs to user 12345" in err
    _, err = run_in(tmp_path, [*under_mrun("-nw", "1"), "true"], expect=1)
    assert "belongs to user 12345" in err


def test_a_folder_that_others_may_write_to_is_not_trusted_and_mrun_takes_that_from_them(tmp_path):
    folder = leave_key(tmp_path).parent
    folder.chmod(0o777)
    (folder / "kept").touch()
    out, err = run_in(tmp_path, python(ALONE))
    assert out == "('local', 1)\n"
    assert "others may write to" in err
    assert "chmod 700" in err
    out, _ = run_in(tmp_path, [*under_mrun("-nw", "1"), *python(ALONE)])
    assert out == "('local', 1)\n"
    assert folder.stat().st_mode & 0o777 == 0o755


def test_an_empty_variable_says_that_there_is_none(tmp_path):
    leave_key(tmp_path)
    out, err = run_in(tmp_path, ["env", f"{VARIABLE}=", *python(ALONE)])
    assert (out, err) == ("('local', 1)\n", "")


def test_a_link_is_not_followed(tmp_path):
    path = leave_key(tmp_path)
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    _, err = run_in(tmp_path, [*under_mrun("-nw", "1"), "true"], expect=1)
    assert "cannot be read" in err


def test_the_folder_may_be_elsewhere(tmp_path):
    (tmp_path / "large disk").mkdir(mode=0o700)
    (tmp_path / "mosaic-workspace").symlink_to("large disk")
    out, _ = run_in(tmp_path, [*under_mrun("-nw", "1"), *python(ALONE)])
    assert out == "('local', 1)\n"
    assert list((tmp_path / "large disk").iterdir()) == []


def test_where_no_folder_can_be_made(tmp_path):
    (tmp_path / "mosaic-workspace").touch()
    _, err = run_in(tmp_path, [*under_mrun("-nw", "1"), "true"], expect=1)
    assert "mosaic-workspace cannot be made in the working directory: File exists" in err


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"host": "far-away"}, "mrun on far-away"),
        ({"protocol": 99, "version": "9.9"}, "mosaic 9.9, which speaks another protocol"),
    ],
    ids=["host", "protocol"],
)
def test_a_key_from_elsewhere(changes, words, tmp_path):
    leave_key(tmp_path, **changes)
    out, err = run_in(tmp_path, python(ALONE))
    assert out == "('local', 1)\n"
    assert words in err


def test_a_program_whose_mrun_is_gone_says_so(tmp_path):
    program = (
        f"import os; os.environ['MOSAIC_MONITOR_KEY'] = {str(tmp_path / 'k')!r}; {ALONE.strip()}"
    )
    _, err = run_in(tmp_path, python(program.replace("; import", "\nimport")), expect=1)
    assert "the mrun that started this program is gone" in err


JOINING = """
import os
import time
import mosaic
from tests.support.rendezvous import Flag

async def main(runtime):
    Flag("inside").set()
    await Flag("go").wait_async()
    print(runtime.mode, runtime.num_workers, mosaic.get_monitor().pid == os.getpid())

mosaic.run(main)
"""


def test_a_program_in_the_directory_joins_what_waits_there():
    out, err = run_script(
        """
        import os
        import subprocess
        import sys
        import mosaic

        monitor = subprocess.Popen([*sys.argv[1:], "--monitor", "-nw", "2"], stderr=subprocess.PIPE, text=True)
        print(monitor.stderr.readline(), end="")
        for _ in range(2):
            with mosaic.session() as runtime:
                print(runtime.mode, runtime.num_workers, mosaic.get_monitor().pid == monitor.pid)
                print(runtime.submit(abs, -1).wait())
        second = "import mosaic; print(mosaic.run(lambda runtime: runtime.mode))"
        sys.stdout.flush()
        subprocess.run([*sys.argv[1:], "--head", sys.executable, "-c", second], check=True)
        monitor.terminate()
        print(monitor.wait())
        """,
        *MRUN,
    )
    lines = out.splitlines()
    assert lines[0].startswith("mrun: monitor and node run (process ")
    assert lines[1:] == ["local 2 True", "1", "local 2 True", "1", "local", "0"]
    assert err == ""


def test_in_the_background_until_it_is_stopped():
    program = """
    import json
    import os
    import select
    import signal
    import subprocess
    import sys
    from pathlib import Path

    KEY = Path("mosaic-workspace/monitor.key")
    mrun = sys.argv[1:]
    done = subprocess.run([*mrun, "--daemon", "-nw", "1"], capture_output=True, text=True)
    pid = json.loads(KEY.read_text())["pid"]
    print(done.returncode, done.stderr.endswith(f"(process {pid}); stop them with: kill {pid}\\n"), flush=True)
    program = "import mosaic; print(mosaic.run(lambda runtime: (runtime.mode, runtime.num_workers)), flush=True)"
    subprocess.run([sys.executable, "-c", program], check=True)
    again = subprocess.run([*mrun, "--daemon"], capture_output=True, text=True)
    print(again.returncode, "stop the other first" in again.stderr)
    watched = os.pidfd_open(pid)
    os.kill(pid, signal.SIGTERM)
    select.select([watched], [], [], 10)
    print(KEY.parent.exists())
    """
    out, _ = run_script(program, *MRUN)
    assert out.splitlines() == ["0 True", "('local', 1)", "1 True", "False"]


def test_a_command_with_a_monitor_in_the_background():
    with Mrun(JOINING, options=("-nw", "1", "--daemon")) as script:
        script.wait_for_flag("inside")
        pid = int(script.key["pid"])
        Flag(script.home / "go").set()
        assert script.wait(10) == 0
        assert script.stdout == "local 1 False\n"
        os.kill(pid, signal.SIGTERM)
        script.assert_nothing_left()


def test_a_program_that_is_not_mruns_goes_on_alone_when_the_workers_are_taken():
    with Mrun(JOINING, options=("-nw", "1")) as script:
        script.wait_for_flag("inside")
        environment = {"TMPDIR": str(script.temporary), "XDG_RUNTIME_DIR": str(script.temporary)}
        out, err = run_in(script.home, python(ALONE), env=environment)
        assert out == "('local', 1)\n"
        assert "belong to another program at this moment" in err
        Flag(script.home / "go").set()
        assert script.wait(10) == 0
        script.assert_nothing_left()


def test_a_daemon_that_is_killed_leaves_programs_alive_and_told():
    program = """
    import json
    import os
    import signal
    import subprocess
    import sys
    import mosaic

    subprocess.run([*sys.argv[1:], "--daemon", "-nw", "1"], check=True, stderr=subprocess.DEVNULL)
    pid = json.load(open("mosaic-workspace/monitor.key"))["pid"]
    with mosaic.session() as runtime:
        os.kill(pid, signal.SIGKILL)
        try:
            while True:
                runtime.submit(abs, -1).wait()
        except mosaic.RuntimeDisconnectedError as error:
            print(error)
    with mosaic.session(num_workers=1) as runtime:
        print(runtime.mode)
    """
    out, _ = run_script(program, *MRUN)
    cause, mode = out.splitlines()
    assert "mrun (process " in cause
    assert cause.endswith("is gone")
    assert mode == "local"
