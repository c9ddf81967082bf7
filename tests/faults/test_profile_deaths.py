"""A profile is readable whoever was killed, at whatever moment, and tells what ran then."""

import os
import signal
from pathlib import Path

import numpy as np
import psutil
import pytest

from mosaic.profile import model, tables
from tests.support.launching import Mrun
from tests.support.rendezvous import eventually
from tests.support.scripts import Script

pytestmark = pytest.mark.faults

PROGRAM = """
    import sys
    import mosaic
    from tests.support.rendezvous import Flag

    @mosaic.tessera
    class Held:
        def hold(self, name):
            Flag(name + ".started").set()
            Flag(name + ".release").wait()

        def nothing(self):
            return None

    async def main(runtime):
        held = Held.remote(runtime=runtime.workers[0])
        busy = Held.remote(runtime=runtime.workers[1])
        await mosaic.gather([busy.nothing() for _ in range(2000)])
        task = held.hold("held")
        try:
            await task
        except mosaic.RuntimeDisconnectedError:
            print("lost", flush=True)
            await mosaic.gather([busy.nothing() for _ in range(100)])

    if __name__ == "__main__":
        mosaic.run(main, num_workers=2, profile="run.mprof")
"""


def shown(file: Path) -> model.Profile:
    return model.build(tables.read(file))


def statuses(profile: model.Profile, name: str) -> list[str]:
    runs = profile.runs
    return [
        model.status_text(status)
        for callee, status in zip(runs.callee, runs.status, strict=True)
        if profile.names[callee] == name
    ]


def left_running(profile: model.Profile) -> list[str]:
    """Return where calls had begun that never returned."""
    runs = profile.runs
    open_ones = np.isnan(runs.returned) & (runs.began > 0)
    return [profile.processes[host][0] for host in runs.host[open_ones]]


def functions(profile: model.Profile) -> list[str]:
    return [name for _, name, *_ in profile.functions]


def held_at(file: Path) -> int | None:
    """Return the process that the file says the held call runs in, once it says so."""
    profile = shown(file)
    for at, callee in enumerate(profile.runs.callee):
        if profile.names[callee] == "Held.hold" and profile.runs.began[at] > 0:
            return profile.processes[profile.runs.host[at]][1]
    return None


def test_a_killed_worker_leaves_a_readable_file_that_tells_what_it_ran():
    with Script(PROGRAM) as script:
        file = script.home / "run.mprof"
        script.wait_for_flag("held.started")
        worker = eventually(lambda: held_at(file), "the file tells what runs")
        assert worker != script.pid
        os.kill(worker, signal.SIGKILL)
        script.wait_for_line("lost")
        assert script.wait() == 0
        script.assert_nothing_left()
        profile = shown(file)
    assert statuses(profile, "Held.hold") == ["disconnected"]
    assert statuses(profile, "Held.nothing").count("done") == 2100
    assert len({pid for uid, pid, _, _ in profile.processes if uid.startswith("worker")}) >= 2


def test_a_killed_driver_leaves_a_readable_file():
    with Script(PROGRAM) as script:
        file = script.home / "run.mprof"
        script.wait_for_flag("held.started")
        eventually(lambda: held_at(file), "the file tells what runs")
        done = ["done"] * 2000
        eventually(lambda: statuses(shown(file), "Held.nothing") == done, "and what has run")
        script.send(signal.SIGKILL)
        script.wait()
        script.assert_nothing_left()
        profile = shown(file)
    assert statuses(profile, "Held.hold") == ["not ended"]
    assert statuses(profile, "Held.nothing") == done
    assert next(uid for uid, *_ in profile.processes) == "head"


LAST_WORDS = """
    import os
    import signal
    import threading
    from pathlib import Path

    import mosaic
    from tests.support.deaths import freeze
    from tests.support.rendezvous import Flag

    @mosaic.tessera
    class Survivor:
        def outlive(self, victim):
            # A call that has just begun is in no file yet.
            os.kill(victim or os.getppid(), signal.SIGKILL)
            threading.Event().wait(30)

        def outlive_after_the_end(self, other, victim):
            call = other.hold()
            Flag("started").set()
            try:
                call.wait()
            except mosaic.RuntimeDisconnectedError:
                last_words()
            self.outlive(victim)

        def outlive_agent(self, head):
            # The head ends workers whose agent is gone, if it is faster than they are.
            freeze(head)
            last_words()
            self.outlive(None)

        def hold(self):
            threading.Event().wait(30)

    def last_words():
        return None
"""
"""Workers that kill those with whom they die, at once after something that has to be told."""


def test_a_worker_whose_head_dies_tells_what_it_ran():
    program = (
        LAST_WORDS
        + """
    async def main(runtime):
        await Survivor.remote().outlive(os.getpid())

    mosaic.run(main, num_workers=1, profile="run.mprof")
    """
    )
    with Script(program) as script:
        assert script.wait() == -signal.SIGKILL
        script.assert_nothing_left()
        profile = shown(script.home / "run.mprof")
    assert left_running(profile) == ["worker:0:0"]


def test_a_worker_whose_agent_dies_tells_what_it_ran():
    program = (
        LAST_WORDS
        + """
    async def main(runtime):
        Path("head").write_text(str(os.getpid()))
        mosaic.profiler.start_trace()
        try:
            await Survivor.remote().outlive_agent(os.getpid())
        except mosaic.RuntimeDisconnectedError:
            print("lost", flush=True)

    mosaic.run(main, profile="run.mprof")
    """
    )
    with Mrun(program, options=("-nw", "1")) as script:
        file = script.home / "run.mprof"
        script.wait_for_flag("head")
        eventually(lambda: "last_words" in functions(shown(file)), "its last function is told")
        # Which stops with its program.
        mrun = script.find("mrun")
        eventually(lambda: mrun.status() == psutil.STATUS_STOPPED, "mrun stops too")
        os.kill(int((script.home / "head").read_text()), signal.SIGCONT)
        mrun.resume()
        script.wait_for_line("lost")
        script.wait()
        script.assert_nothing_left()


def test_a_worker_whose_head_dies_while_it_stops_tells_what_it_ran():
    program = (
        LAST_WORDS
        + """
    async def main(runtime):
        mosaic.profiler.start_trace()
        one, other = (Survivor.remote(runtime=worker) for worker in runtime.workers)
        one.outlive_after_the_end(other, os.getpid())
        await Flag("started").wait_async()

    mosaic.run(main, num_workers=2, profile="run.mprof")
    """
    )
    with Script(program) as script:
        assert script.wait() == -signal.SIGKILL
        script.assert_nothing_left()
        profile = shown(script.home / "run.mprof")
    assert "last_words" in functions(profile)


def test_a_full_disk_ends_the_recording_and_not_the_run():
    program = """
        import mosaic

        @mosaic.tessera
        class Busy:
            def nothing(self):
                return None

        async def main(runtime):
            busy = Busy.remote()
            for _ in range(5):
                await mosaic.gather([busy.nothing() for _ in range(5000)])
            print("done")

        if __name__ == "__main__":
            import resource, signal
            # A file that may not grow, as on a full disk.
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
            mosaic.run(main, num_workers=1, profile="run.mprof")
    """
    with Script(program) as script:
        assert script.wait() == 0
        assert script.stdout.splitlines() == ["done"]
        assert "ends here, its file cannot be written" in script.stderr
        profile = shown(script.home / "run.mprof")
    assert profile.processes
