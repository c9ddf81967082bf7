"""What workers print reaches the driver's terminal: whole lines, with the uid, all of them."""

import re

import pytest

from tests.support.launching import under_mrun
from tests.support.scripts import run_script


def test_prints_of_workers_arrive_with_their_uid():
    out, err = run_script(
        """
        import sys
        import mosaic

        @mosaic.tessera
        class Speaker:
            def say(self, text):
                print(text)
                print(text, "in red", file=sys.stderr)

        with mosaic.session(num_workers=2) as runtime:
            speakers = Speaker.remote(len=2)
            for worker in runtime.workers:
                speakers.say("hello from " + worker.uid, runtime=worker).wait()
            # Whole: where output is not buffered, `print` is two writes, and the thread that shows what workers print
            # may come between them.
            sys.stdout.write("from the script\\n")
        """
    )
    for uid in ("worker:0:0", "worker:0:1"):
        (line,) = [line for line in out.splitlines() if f"hello from {uid}" in line]
        assert uid in line.replace(f"hello from {uid}", "")
        assert f"hello from {uid} in red" in out + err
    assert "from the script" in out.splitlines()


def test_nothing_is_lost_at_the_end_and_lines_stay_whole():
    """`STDIO-4`"""
    out, _ = run_script(
        """
        import mosaic

        @mosaic.tessera
        class Speaker:
            def say(self, name, n):
                for i in range(n):
                    print(f"<{name} {i} {'x' * (i % 200)}>")

        with mosaic.session(num_workers=2):
            tasks = [Speaker.remote().say(k, 2000) for k in range(2)]
            for task in tasks:
                task.wait()
        """
    )
    found = [m.groups() for m in re.finditer(r"<(\d) (\d+) (x*)>$", out, re.MULTILINE)]
    assert sorted((int(k), int(i)) for k, i, _ in found) == [
        (k, i) for k in range(2) for i in range(2000)
    ]
    assert all(len(x) == int(i) % 200 for _, i, x in found)
    for k in "01":
        assert [int(i) for name, i, _ in found if name == k] == list(range(2000))


def test_a_last_line_without_an_end():
    out, _ = run_script(
        """
        import sys
        import mosaic

        def say():
            sys.stdout.write("no newline at the end")

        with mosaic.session(num_workers=1) as runtime:
            runtime.submit(say).wait()
        """
    )
    assert "no newline at the end" in out


def test_output_below_python_arrives_too():
    out, err = run_script(
        """
        import os
        import subprocess
        import mosaic

        def say():
            os.write(1, b"from file descriptor one\\n")
            os.write(2, b"from file descriptor two\\n")
            subprocess.run(["echo", "from a grandchild"], check=True)

        with mosaic.session(num_workers=1) as runtime:
            runtime.submit(say).wait()
        """
    )
    for text in ("from file descriptor one", "from file descriptor two", "from a grandchild"):
        assert text in out + err


def test_output_in_a_destructor_just_before_the_stop():
    out, err = run_script(
        """
        import mosaic

        @mosaic.tessera
        class Last:
            def __del__(self):
                print("last words", flush=True)

        async def main(runtime):
            await (await Last.remote()).stop()

        mosaic.run(main, num_workers=1)
        """
    )
    assert "last words" in out
    assert "Traceback" not in err


def test_the_last_words_of_a_dying_worker():
    out, err = run_script(
        """
        import os
        import mosaic

        def die():
            print("last words", flush=True)
            os._exit(3)

        with mosaic.session(num_workers=1) as runtime:
            try:
                runtime.submit(die).wait()
            except mosaic.RuntimeDisconnectedError as error:
                print("told:", error)
        """
    )
    assert "last words" in out + err
    assert "told:" in out


def test_output_that_is_not_text():
    out, _ = run_script(
        """
        import os
        import mosaic

        def say():
            os.write(1, b"\\xff\\xfe not utf-8\\n" + "Zw\\u00f6lf\\n".encode())

        with mosaic.session(num_workers=1) as runtime:
            runtime.submit(say).wait()
        """
    )
    assert "not utf-8" in out
    assert "Zwölf" in out


def test_a_quiet_program_prints_nothing():
    out, err = run_script(
        """
        import mosaic

        async def main(runtime):
            return await runtime.map(abs, range(10))

        mosaic.run(main, num_workers=2)
        """
    )
    assert out == ""
    assert err == ""


def test_a_very_long_line():
    out, _ = run_script(
        """
        import mosaic

        def say():
            print("<" + "y" * 300_000 + ">")

        with mosaic.session(num_workers=1) as runtime:
            runtime.submit(say).wait()
        """
    )
    assert out.count("y") == 300_000


SLOW_READER = """
import os
import sys
import threading
import mosaic
from tests.support.actors import print_until_nobody_reads
from tests.support.rendezvous import eventually

def flood():
    return os.getpid(), print_until_nobody_reads(b"x" * 99 + b"\\n")

from_pipe, to_pipe = os.pipe()
answer, sys.stdout = sys.stdout, os.fdopen(to_pipe, "w")
lines = 0

def read(worker):
    # Nobody reads before the worker is gone, and what it has left behind with it.
    eventually(lambda: not os.path.exists(f"/proc/{worker}"))
    global lines
    with os.fdopen(from_pipe) as shown:
        lines = sum("x" * 99 in line for line in shown)

async def main(runtime):
    pid, printed = await runtime.submit(flood).result()
    thread = threading.Thread(target=read, args=(pid,))
    thread.start()
    return thread, printed

thread, printed = mosaic.run(main, num_workers=1)
sys.stdout.close()
thread.join()
print(printed, lines, file=answer)
"""


@pytest.mark.parametrize("under", [(), under_mrun("-nw", "1")], ids=["alone", "mrun"])
def test_what_waits_when_the_runtime_stops_is_shown(under):
    out, _ = run_script(SLOW_READER, under=under)
    printed, shown = map(int, out.split())
    assert printed > 10_000
    assert shown == printed
