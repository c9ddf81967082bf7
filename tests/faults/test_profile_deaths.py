"""A profile is readable whoever was killed, at whatever moment, and tells what ran then."""

import os
import signal
from pathlib import Path

import pytest

from mosaic.profile import model, tables
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
