"""Few files may be open: what needs one more is told so, and nothing else ends by it."""

import pytest

from tests.support.launching import under_mrun
from tests.support.scripts import run_script

pytestmark = pytest.mark.faults

HEAD = """
    import asyncio, errno, os
    import numpy as np
    import mosaic

    def open_files():
        return len(os.listdir("/proc/self/fd"))

    def fill(spare=0):
        \"\"\"Open files until no more can be opened, and close a few.\"\"\"
        files = []
        try:
            while True:
                files.append(open("/dev/null"))
        except OSError as error:
            assert error.errno == errno.EMFILE, error
        for _ in range(spare):
            files.pop().close()
        return files

    @mosaic.tessera
    class Worker:
        def __init__(self):
            self.files, self.array = [], None

        def pid(self):
            return os.getpid()

        def fill(self):
            self.files = fill()

        def empty(self):
            while self.files:
                self.files.pop().close()

        def make(self, length, value=1.0):
            return np.full(length, value)

        def total(self, array):
            return float(array.sum())

        async def answer(self):
            return 42

        async def put(self, length):
            return await mosaic.runtime().put(np.ones(length))

        def open_files(self):
            return open_files()

    async def same(workers, pids):
        assert [await worker.pid().result() for worker in workers] == pids

    async def refused(awaitable, *notes):
        try:
            await awaitable
        except mosaic.DescriptorLimitError as error:
            assert isinstance(error, OSError) and error.errno == errno.EMFILE
            assert "RLIMIT_NOFILE = " in str(error), error
            lines = [str(error), *getattr(error, "__notes__", ())]
            assert not notes or any(note in line for note in notes for line in lines), lines
        else:
            raise AssertionError("not refused")
"""


def run(
    body: str, limit: str, env: dict[str, str] | None = None, under: tuple[str, ...] = ()
) -> None:
    shell = ["sh", "-c", f'ulimit {limit} && exec "$0" "$@"']
    run_script(HEAD + body, under=[*shell, *under], env=env)


def test_many_results_take_few_descriptors():
    run(
        """
    def make(i):
        return np.full(40_000, float(i))

    async def main(runtime):
        before = open_files()
        tasks = [runtime.submit(make, i) for i in range(400)]
        results = await asyncio.gather(*[task.result() for task in tasks])
        assert [result[-1] for result in results] == list(range(400))
        assert open_files() - before < 40, open_files()
        arrays = [np.full(40_000, float(i)) for i in range(100)]
        workers = [await Worker.remote() for _ in range(2)]
        totals = await asyncio.gather(*[w.total(a).result() for a in arrays for w in workers])
        assert totals[::2] == totals[1::2] == [40_000.0 * i for i in range(100)]
        for worker in workers:
            assert await worker.open_files().result() < 100
        assert [worker.uid for worker in runtime.workers] == ["worker:0:0", "worker:0:1"]

    if __name__ == "__main__":
        mosaic.run(main, num_workers=2)
    """,
        "-n 128",
    )


def test_many_values_on_disk_and_many_large_ones_take_few_descriptors():
    run(
        """
    def make(i):
        return np.full(40_000, float(i))

    def large(i):
        return np.full(1_100_000, float(i))

    async def main(runtime):
        tasks = [runtime.submit(make, i) for i in range(300)]
        for task in tasks:
            await task
        results = [await task.result() for task in tasks]
        assert [result[-1] for result in results] == list(range(300))
        assert open_files() < 110
        report = await runtime.memory()
        assert sum(worker.disk_used for worker in report.processes.values()) > 0
        # Those that lie on disk travel with their calls.
        total = sum([await runtime.submit(np.sum, task).result() for task in tasks[::10]])
        assert total == 40_000 * sum(range(0, 300, 10))

    if __name__ == "__main__":
        mosaic.run(main, num_workers=2)
    """,
        "-n 128",
        {"MOSAIC_WAREHOUSE_MEM": "32MB"},
    )


def test_a_worker_without_descriptors_refuses_arguments_and_goes_on():
    run(
        """
    async def main(runtime):
        full, other = [await Worker.remote(runtime=name) for name in ("worker:0:0", "worker:0:1")]
        pids = [await full.pid().result(), await other.pid().result()]
        array = np.ones(100_000)
        stored = await runtime.put(array)
        made = other.make(100_000)
        await made
        # What a worker imports for it is there then.
        await full.put(10).result()
        await full.fill()
        # By value, from a store, from another worker, and a result of its own.
        await refused(full.total(array).result())
        # Its file was lost on the way, or came with the last descriptor, so that the store could not be opened.
        reasons = "argument 0 of Worker.total", "the store cannot be opened"
        await refused(full.total(made).result(), *reasons)
        await refused(full.total(stored).result(), *reasons)
        await refused(full.make(100_000).result())
        await refused(full.put(100_000).result())
        # What needs none goes on, in between as well.
        calls = [full.total(array) if i % 2 else full.total(np.ones(10)) for i in range(20)]
        for i, call in enumerate(calls):
            if i % 2:
                await refused(call.result())
            else:
                assert await call.result() == 10.0
        await full.empty()
        assert await full.total(array).result() == 100_000.0
        assert await full.total(made).result() == 100_000.0
        assert await full.total(stored).result() == 100_000.0
        assert (await full.make(100_000).result()).sum() == 100_000.0
        # Not even what it takes to run a first coroutine is left, but for what is kept in reserve.
        await other.fill()
        assert await other.answer().result() == 42
        await same([full, other], pids)

    if __name__ == "__main__":
        mosaic.run(main, num_workers=2)
    """,
        "-n 200",
    )


def test_a_program_without_descriptors_is_refused_values_and_goes_on():
    run(
        """
    async def main(runtime):
        worker = await Worker.remote()
        pid = await worker.pid().result()
        files = fill()
        later = [worker.make(100_000, float(i)) for i in range(50)]
        await refused(worker.make(100_000).result())
        # What has ended has ended: the value is where it was.
        await asyncio.gather(*later)
        try:
            worker.total(np.ones(100_000))
        except mosaic.DescriptorLimitError:
            pass
        else:
            raise AssertionError("not refused")
        # To be kept by a head that cannot take it.
        await refused(worker.put(100_000).result())
        await same([worker], [pid])
        while files:
            files.pop().close()
        for i, task in enumerate(later):
            assert (await task.result())[-1] == i
        assert await worker.total(np.ones(100_000)).result() == 100_000.0
        stored = await worker.put(100_000).result()
        assert (await runtime.get(stored)).sum() == 100_000.0
        await same([worker], [pid])

    if __name__ == "__main__":
        mosaic.run(main, num_workers=2)
    """,
        "-n 200",
    )


CHILDREN = """
    import ctypes, multiprocessing, pty, resource, subprocess, sys

    terminals = []
    SHOW = "import resource; print(resource.getrlimit(resource.RLIMIT_NOFILE)[0])"

    def soft():
        return resource.getrlimit(resource.RLIMIT_NOFILE)[0]

    def report(queue):
        queue.put(soft())

    def of_multiprocessing(method):
        context = multiprocessing.get_context(method)
        queue = context.SimpleQueue()
        process = context.Process(target=report, args=(queue,))
        process.start()
        found = queue.get()
        process.join()
        return found

    def of_forked(start):
        \"\"\"What a program prints that `start` starts with its output into a pipe.\"\"\"
        reading, writing = os.pipe()
        status = start(writing)
        os.close(writing)
        with open(reading) as pipe:
            found = int(pipe.read())
        if status:
            os.waitpid(status, 0)
        return found

    def replaced(writing):
        child = os.fork()
        if child == 0:
            os.dup2(writing, 1)
            os.execv("/bin/sh", ["sh", "-c", "ulimit -n"])
        return child

    def spawned(writing):
        command = ["sh", "-c", "ulimit -n"]
        actions = [(os.POSIX_SPAWN_DUP2, writing, 1)]
        return os.posix_spawn("/bin/sh", command, dict(os.environ), file_actions=actions)

    def by_c(writing):
        libc = ctypes.CDLL(None)
        child = libc.fork()
        if child == 0:
            libc.dup2(writing, 1)
            libc.execl(b"/bin/sh", b"sh", b"-c", b"ulimit -n", None)
        return child

    def by_system(writing):
        os.set_inheritable(writing, True)
        assert os.system(f"ulimit -n > /dev/fd/{writing}") == 0
        assert os.waitstatus_to_exitcode(os.system("exit 3")) == 3

    def by_spawnv(writing):
        os.set_inheritable(writing, True)
        return os.spawnv(os.P_NOWAIT, "/bin/sh", ["sh", "-c", f"ulimit -n > /dev/fd/{writing}"])

    def by_pty(writing):
        child, terminal = pty.fork()
        if child == 0:
            os.dup2(writing, 1)
            os.execvp("sh", ["sh", "-c", "ulimit -n"])
        # It is hung up on when this is closed.
        terminals.append(terminal)
        return child

    async def by_asyncio():
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", SHOW, stdout=pipe)
        return int((await process.communicate())[0])

    def in_children(multi=True):
        show = [sys.executable, "-c", SHOW]
        found = {
            "subprocess": int(subprocess.check_output(show)),
            "its shell": int(subprocess.check_output("ulimit -n", shell=True)),
            "its fork": int(subprocess.check_output(show, preexec_fn=os.getpid)),
            "popen": int(os.popen("ulimit -n").read()),
            "fork": of_forked(replaced),
            "posix_spawn": of_forked(spawned),
            "C": of_forked(by_c),
            "system": of_forked(by_system),
            "spawnv": of_forked(by_spawnv),
            "pty": of_forked(by_pty),
        }
        for method in ("fork", "spawn", "forkserver") if multi else ("fork",):
            found[method] = of_multiprocessing(method)
        return found
"""


def test_programs_that_user_code_starts_have_the_limit_that_the_program_was_given():
    """`LIMIT-1`"""
    run(
        CHILDREN
        + """
    def in_worker():
        assert soft() == 2000, soft()
        return in_children(multi=False)

    def in_crowded_worker():
        files = [open("/dev/null") for _ in range(400)]
        # The pipes are beyond the limit.
        found = {
            "crowded": int(subprocess.check_output([sys.executable, "-c", SHOW])),
            "crowded posix_spawn": of_forked(spawned),
        }
        assert soft() == 2000
        return found

    async def main(runtime):
        assert soft() == 2000, soft()
        found = in_children()
        found["asyncio"] = await by_asyncio()
        assert soft() == 2000, soft()
        assert set(found.values()) == {300}, found
        for function in (in_worker, in_crowded_worker):
            found = await runtime.submit(function).result()
            assert set(found.values()) == {300}, found

    if __name__ == "__main__":
        system = os.system
        mosaic.run(main, num_workers=1)
        assert soft() == 300, soft()
        assert os.system is system
        assert int(subprocess.check_output([sys.executable, "-c", SHOW])) == 300
        # More are open than there may be: the limit stays, and children have the old one.
        mosaic.init(num_workers=1)
        files = [open("/dev/null") for _ in range(400)]
        mosaic.stop()
        assert soft() == 2000, soft()
        assert int(subprocess.check_output([sys.executable, "-c", SHOW])) == 300
        files.clear()
        # What a program sets itself stays.
        mosaic.init(num_workers=1)
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (250, hard))
        assert int(subprocess.check_output([sys.executable, "-c", SHOW])) == 250
        mosaic.stop()
        assert soft() == 250, soft()
    """,
        "-Sn 300 && ulimit -Hn 2000",
    )


def test_under_mrun_too_programs_have_the_limit_that_was_given():
    run(
        CHILDREN
        + """
    def in_worker():
        assert soft() == 2000, soft()
        return int(subprocess.check_output([sys.executable, "-c", SHOW]))

    async def main(runtime):
        assert soft() == 2000, soft()
        assert int(subprocess.check_output([sys.executable, "-c", SHOW])) == 300
        assert await runtime.submit(in_worker).result() == 300

    if __name__ == "__main__":
        assert soft() == 300, soft()
        mosaic.run(main)
        assert soft() == 300, soft()
    """,
        "-Sn 300 && ulimit -Hn 2000",
        under=under_mrun("-nw", "1"),
    )
