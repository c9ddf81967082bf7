"""What programs bring along: signal handlers, helper processes, compilers, plots, prints, logs."""

import signal
import sys
import threading

import pytest

import mosaic
from tests.support.scripts import Script, run_script


def test_handlers_set_before_the_import_are_kept():
    out, _ = run_script(
        """
        import os, signal
        numbers = [signal.SIGUSR1, signal.SIGTERM, signal.SIGHUP, signal.SIGINT]
        seen = []
        def handler(number, frame):
            seen.append(number)
        for number in numbers:
            signal.signal(number, handler)
        import mosaic

        async def main(runtime):
            for number in numbers:
                assert signal.getsignal(number) is handler
                os.kill(os.getpid(), number)
            return await runtime.submit(abs, -3).result()

        if __name__ == "__main__":
            print(mosaic.run(main, num_workers=1), seen == numbers)
            assert {signal.getsignal(number) for number in numbers} == {handler}
        """
    )
    assert out.split() == ["3", "True"]


def test_helpers_forked_before_the_import_are_left_alone():
    out, _ = run_script(
        """
        import os, subprocess, sys
        forked, theirs = os.pipe(), os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(forked[1])
            os.close(theirs[0])
            while line := os.read(forked[0], 100):
                os.write(theirs[1], line.upper())
            os._exit(7)
        os.close(forked[0])
        os.close(theirs[1])
        program = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

        import mosaic

        def ask(word):
            os.write(forked[1], word)
            return os.read(theirs[0], 100)

        async def main(runtime):
            assert ask(b"before") == b"BEFORE"
            assert await runtime.submit(abs, -3).result() == 3

        if __name__ == "__main__":
            for _ in range(2):
                mosaic.run(main, num_workers=1)
                assert ask(b"after") == b"AFTER"
                assert program.poll() is None
            os.close(forked[1])
            print(os.waitpid(pid, 0)[1] >> 8)
            print(program.communicate(b"still there")[0].decode())
        """
    )
    assert out.splitlines() == ["7", "still there"]


@mosaic.tessera
class Compiler:
    """Does in methods what third-party libraries do."""

    def main_thread(self):
        return threading.current_thread() is threading.main_thread()

    def compile(self, source):
        import os
        import subprocess
        import tempfile

        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "kernel.py")
            with open(path, "w") as file:
                file.write(source)
            done = subprocess.run(
                [sys.executable, path], capture_output=True, text=True, check=True
            )
        return done.stdout.strip()

    async def main_thread_async(self):
        return self.main_thread()

    async def main_thread_of_others(self):
        found = []
        thread = threading.Thread(target=lambda: found.append(self.main_thread()))
        thread.start()
        thread.join()
        return found

    async def compile_async(self, source):
        return self.compile(source)

    def fork(self, code):
        import os

        pid = os.fork()
        if pid == 0:
            os._exit(code)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    async def fork_async(self, code):
        return self.fork(code)

    def handle(self, number):
        import os

        seen = []
        before = signal.signal(number, lambda *_: seen.append(number))
        os.kill(os.getpid(), number)
        signal.signal(number, before)
        return seen

    def plot(self, path):
        from matplotlib import pyplot

        figure, axes = pyplot.subplots()
        axes.plot([0, 1, 4])
        figure.savefig(path)
        pyplot.close(figure)
        return pyplot.get_backend().lower()

    async def plot_async(self, path):
        return self.plot(path)

    def say(self, text):
        print(text)
        print(text, "wrongly", file=sys.stderr)
        mosaic.logger().error("%s logged", text)


async def test_compilers_in_methods(runtime):
    compiler = Compiler.remote()
    # Both kinds of methods take theirs for the main thread, whichever ran first; threads of their own do not.
    for method in (compiler.main_thread_async, compiler.main_thread, compiler.main_thread_async):
        assert await method().result()
    assert await compiler.main_thread_of_others().result() == [False]
    for method in (compiler.compile, compiler.compile_async):
        assert await method("print('kernel')").result() == "kernel"
    for method in (compiler.fork, compiler.fork_async):
        assert await method(5).result() == 5


async def test_signal_handlers_in_methods(runtime):
    assert await Compiler.remote().handle(signal.SIGUSR1).result() == [signal.SIGUSR1]


async def test_plots_in_methods(runtime, tmp_path):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    compiler = Compiler.remote()
    for name, method in (("a.png", compiler.plot), ("b.png", compiler.plot_async)):
        assert await method(str(tmp_path / name)).result() == "agg"
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")


def test_prints_of_everybody_appear_and_say_whose():
    out, err = run_script(
        """
        import mosaic
        from tests.compat.test_surroundings import Compiler

        async def main(runtime):
            print("from the script")
            await Compiler.remote().say("from a worker")
            mosaic.logger().info("told by the head")
            mosaic.logger().warn("a warning")

        if __name__ == "__main__":
            mosaic.run(main, num_workers=1, log_level="info")
        """
    )
    assert "from the script" in out.splitlines()
    assert any("from a worker" in line and "worker:0:0" in line for line in out.splitlines())
    for text in ("from a worker wrongly", "from a worker logged"):
        assert any(text in line and "worker:0:0" in line for line in err.splitlines()), text
    for text in ("told by the head", "a warning"):
        assert any(text in line and "head" in line for line in err.splitlines()), text


def test_a_program_ends_by_ctrl_c_with_a_solver_at_work():
    with Script(
        """
        import sys
        import mosaic
        from tests.support.actors import Blocker
        from tests.support.rendezvous import Flag

        async def main(runtime):
            blocker = Blocker.remote()
            await blocker.until(Flag("started"), Flag("never")).result()

        if __name__ == "__main__":
            mosaic.run(main, num_workers=1)
        """
    ) as script:
        script.wait_for_flag("started")
        script.send(signal.SIGINT)
        assert script.wait(10) != 0
        script.assert_nothing_left()
