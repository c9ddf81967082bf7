"""What a profile says of a run is what happened in it."""

import itertools
import os
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

import mosaic
from mosaic.profile import model, tables
from mosaic.profile.model import Profile, Runs
from tests.support.rendezvous import Flag
from tests.support.scripts import Script

SLACK_NS = 200_000
"""Nanoseconds by which two clocks may differ that are read one after the other."""

ELEMENTS = 250_000
"""Of the arrays: 2 MB, which lie in the store."""


@mosaic.tessera
class Stage:
    def __init__(self, name):
        self.name = name

    def make(self, started, release):
        started.set()
        release.wait()
        return np.full(ELEMENTS, 1.0)

    def total(self, array):
        return float(array.sum())

    def nothing(self):
        return None

    async def double(self, x):
        return 2 * x

    async def ask(self, other, x):
        return await other.double(x).result()

    def fail(self):
        raise ValueError("as it should")


async def drive(runtime, path: Path, facts: dict) -> None:
    """Do a little of everything, and note when what was the case."""
    now = time.monotonic_ns
    workers = runtime.workers
    first, second = (Stage.remote(name, runtime=w) for name, w in zip("ab", workers, strict=True))
    await first
    await second
    started, release = Flag(path / "started"), Flag(path / "release")
    facts["made"] = now()
    made = first.make(started, release)
    total = second.total(made)
    await total.init_future
    await started.wait_async()
    facts["held from"] = now()
    assert await second.get_attr("name", immediate=True) == "b"
    facts["held to"] = now()
    release.set()
    assert await total.result() == ELEMENTS
    facts["totalled"] = now()
    assert await second.ask(first, 4).result() == 8
    with pytest.raises(ValueError, match="as it should"):
        await first.fail()
    await mosaic.gather([first.nothing() for _ in range(300)])
    facts["uids"] = [worker.uid for worker in workers]
    facts["tasks"] = {"make": made.uid, "total": total.uid}


@pytest.fixture(scope="module")
def recorded(tmp_path_factory, runner) -> tuple[Profile, dict, Path]:
    path = tmp_path_factory.mktemp("profile")
    facts: dict = {}
    file = path / "run.mprof"
    with mosaic.session(num_workers=2, profile=file) as runtime:
        runner.run(drive(runtime, path, facts))
        facts["pids"] = {one.uid: one.pid for one in runtime.engine.members()}
    return model.build(tables.read(file)), facts, file


def rows(profile: Profile, name: str) -> list[int]:
    return [i for i in range(len(profile.runs)) if profile.names[profile.runs.callee[i]] == name]


def row(profile: Profile, name: str) -> int:
    (found,) = rows(profile, name)
    return found


def uid(profile: Profile, process: int) -> str:
    return profile.processes[process][0]


def test_every_call_is_there_once(recorded):
    profile, _, _ = recorded
    counted = Counter(profile.names[callee] for callee in profile.runs.callee)
    assert counted == {
        "Stage()": 2,
        "Stage.make": 1,
        "Stage.total": 1,
        "Stage.name ?": 1,
        "Stage.nothing": 300,
        "Stage.ask": 1,
        "Stage.double": 1,
        "Stage.fail": 1,
    }


def test_moments_are_in_their_order(recorded):
    runs: Runs = recorded[0].runs
    moments = [
        runs.created,
        runs.queued,
        runs.ended,
        runs.ready,
        runs.began,
        runs.ran,
        runs.returned,
        runs.done,
    ]
    for earlier, later in itertools.pairwise(moments):
        assert not np.isnan(later).any()
        assert (earlier <= later).all()
    parts = runs.sending + runs.waiting + runs.transfer + runs.queueing + runs.running
    assert np.allclose(parts, runs.done - runs.created)


def test_processes_are_those_of_the_network(recorded):
    profile, facts, _ = recorded
    assert {name: pid for name, pid, _, _ in profile.processes} == facts["pids"]
    assert set(facts["uids"]) < set(facts["pids"])


def test_calls_ran_where_their_tesserae_live_and_tell_who_made_them(recorded):
    profile, facts, _ = recorded
    runs, (first, second) = profile.runs, facts["uids"]
    assert uid(profile, runs.host[row(profile, "Stage.make")]) == first
    assert uid(profile, runs.host[row(profile, "Stage.total")]) == second
    assert {uid(profile, runs.host[i]) for i in rows(profile, "Stage.nothing")} == {first}
    asked, answered = row(profile, "Stage.ask"), row(profile, "Stage.double")
    assert uid(profile, runs.caller[asked]) == "head"
    assert runs.parent[asked] == -1
    assert uid(profile, runs.caller[answered]) == second
    assert runs.parent[answered] == asked
    assert runs.began[asked] <= runs.created[answered] <= runs.returned[asked]


def test_tasks_have_their_names(recorded):
    profile, facts, _ = recorded
    for method, name in facts["tasks"].items():
        assert name.endswith("-" + profile.runs.uid(row(profile, f"Stage.{method}")))


def test_a_call_waits_for_its_argument_as_long_as_that_takes(recorded):
    profile, facts, _ = recorded
    runs, at, argument = profile.runs, row(profile, "Stage.total"), row(profile, "Stage.make")

    def moment(name: str) -> float:
        return facts[name] - profile.origin

    held = facts["held to"] - facts["held from"]
    assert held > 0
    assert runs.running[argument] >= held - SLACK_NS
    assert runs.waiting[at] >= held - SLACK_NS
    assert moment("made") - SLACK_NS <= runs.created[argument] <= runs.created[at]
    assert runs.queued[at] <= moment("held from") + SLACK_NS
    assert moment("held to") - SLACK_NS <= runs.ended[at] <= runs.began[at]
    assert abs(runs.ended[at] - runs.done[argument]) <= SLACK_NS
    assert runs.done[at] <= moment("totalled") + SLACK_NS
    assert runs.waiting[argument] == 0


def test_an_array_is_seen_to_move(recorded):
    profile, _, _ = recorded
    runs, moved = profile.runs, profile.moved
    at, argument = row(profile, "Stage.total"), row(profile, "Stage.make")
    size = 8 * ELEMENTS
    assert size <= runs.size_out[argument] < size + 1000
    (coming,) = moved[(moved["target"] == runs.host[at]) & (moved["task"] == runs.task[argument])]
    assert coming["source"] == runs.host[argument]
    assert coming["size"] == runs.size_out[argument]
    assert coming["copied"] < 1000, "it lies in memory that both share"
    assert runs.ended[at] <= coming["time"] <= runs.began[at]
    assert runs.transfer[at] > 0


def test_a_failure_is_told(recorded):
    profile, _, _ = recorded
    statuses = {
        profile.names[callee]: model.status_text(status)
        for callee, status in zip(profile.runs.callee, profile.runs.status, strict=True)
    }
    assert statuses.pop("Stage.fail") == "raised"
    assert set(statuses.values()) == {"done"}


def test_nothing_is_torn_or_left_out(recorded):
    profile, _, _ = recorded
    assert (profile.torn, profile.dropped) == (0, 0)


# --------------------------------------------------------------------------- where and whether


def test_without_a_word_nothing_is_recorded(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MOSAIC_PROFILE", raising=False)
    with mosaic.session(num_workers=1, profile=False) as runtime:
        assert runtime.submit(max, 1, 2).wait() == 2
        assert not mosaic.profiler.recording
    assert list(tmp_path.iterdir()) == []


@pytest.mark.allow_leaks("files", reason="the workspace is what this is about; pytest removes it")
@pytest.mark.parametrize("switch", ["option", "environment"])
def test_the_file_lies_in_the_workspace_and_the_log_says_where(
    tmp_path, monkeypatch, switch, caplog
):
    caplog.set_level("INFO")
    monkeypatch.chdir(tmp_path)
    if switch == "environment":
        monkeypatch.setenv("MOSAIC_PROFILE", "1")
    with mosaic.session(num_workers=1, profile=switch == "option") as runtime:
        assert runtime.submit(max, 1, 2).wait() == 2
    (file,) = (tmp_path / "mosaic-workspace").iterdir()
    assert file.name.startswith(f"profile_{time.strftime('%Y-')}")
    assert caplog.text.count(str(file)) == 3, "at the start, at the end, and how to look at it"
    assert rows(model.build(tables.read(file)), "max")


def test_the_environment_names_the_file(tmp_path, monkeypatch):
    file = tmp_path / "deep" / "run.mprof"
    monkeypatch.setenv("MOSAIC_PROFILE", str(file))
    with mosaic.session(num_workers=1) as runtime:
        assert runtime.submit(max, 1, 2).wait() == 2
    assert rows(model.build(tables.read(file)), "max")


def test_a_file_that_is_there_is_left_alone(tmp_path):
    file = tmp_path / "run.mprof"
    file.write_text("somebody's")
    with mosaic.session(num_workers=1, profile=str(file)) as runtime:
        assert runtime.submit(max, 1, 2).wait() == 2
    assert file.read_text() == "somebody's"
    assert rows(model.build(tables.read(tmp_path / "run_2.mprof")), "max")


def test_what_is_no_path_is_refused():
    with pytest.raises(TypeError, match="profile must be True, False or the path"):
        mosaic.init(num_workers=1, profile=3.5)
    assert mosaic.runtime() is None


def test_a_directory_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        mosaic.init(num_workers=1, profile=tmp_path / "file" / "run.mprof")
    assert mosaic.runtime() is None


def test_a_network_that_does_not_start_leaves_no_file(tmp_path):
    with pytest.raises(ValueError, match="stop_grace"):
        mosaic.init(num_workers=1, profile=tmp_path / "run.mprof", stop_grace=-1.0)
    assert list(tmp_path.iterdir()) == []


def test_a_slow_file_holds_nobody_up_but_who_waits_for_it():
    program = """
        import os
        import threading
        from contextlib import suppress
        from pathlib import Path

        import mosaic
        from mosaic.launcher import recording
        from tests.support.rendezvous import eventually

        def pipe(path, new_file=recording.new_file):
            made = new_file(path)
            os.remove(made)
            os.mkfifo(made)
            return made

        def threads():
            for path in Path("/proc/self/task").glob("*/comm"):
                with suppress(OSError):
                    yield path.read_text()

        def read():
            # A pipe is opened once somebody reads it: until then the file is as slow as can be.
            eventually(lambda: "mosaic-profile\\n" in threads())
            Path("saved.mprof").write_bytes(Path("run.mprof").read_bytes())

        async def main(runtime):
            assert await runtime.submit(max, 1, 2).result() == 2

        recording.new_file = pipe
        reader = threading.Thread(target=read)
        reader.start()
        mosaic.run(main, num_workers=1, profile="run.mprof")
        reader.join()
    """
    with Script(program) as script:
        assert script.wait() == 0
        profile = model.build(tables.read(script.home / "saved.mprof"))
    assert [name for name, *_ in profile.processes] == ["head", "worker:0:0"]
    assert len(rows(profile, "max")) == 1


def test_a_part_of_a_run_is_recorded(runner, tmp_path):
    file = tmp_path / "part.mprof"
    profiler = mosaic.profiler

    async def work():
        stage = Stage.remote("a")
        await stage.double(0)
        assert profiler.start(file) == str(file)
        assert profiler.start() == str(file), "it is being recorded"
        assert (profiler.recording, profiler.tracing) == (True, False)
        for n in range(3):
            await stage.double(n)
        profiler.stop()
        assert not profiler.recording
        for n in range(5):
            await stage.double(n)
        assert profiler.start() == str(file), "what belongs together is in one file"
        await stage.total(np.ones(3))
        profiler.stop()
        profiler.stop()

    with mosaic.session(num_workers=2):
        runner.run(work())
    profile = model.build(tables.read(file))
    assert len(rows(profile, "Stage.double")) == 3
    assert len({pid for _, pid, _, _ in profile.processes}) == len(profile.processes) == 3
    assert len(rows(profile, "Stage.total")) == 1
    assert not rows(profile, "Stage()")


def test_started_without_a_runtime_the_profiler_records_the_next_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file, profiler = tmp_path / "run.mprof", mosaic.profiler
    assert mosaic.runtime() is None
    assert profiler.start(file) == ""
    profiler.start_trace()
    profiler.stop_trace()
    assert not profiler.recording
    assert "off" in repr(profiler)
    with mosaic.session(num_workers=1) as runtime:
        assert profiler.recording
        assert profiler.path == str(file)
        assert runtime.submit(max, 1, 2).wait() == 2
    assert len(rows(model.build(tables.read(file)), "max")) == 1
    # That one alone, and none after a stop.
    for ask in (lambda: None, lambda: (profiler.start(), profiler.stop())):
        ask()
        with mosaic.session(num_workers=1):
            assert not profiler.recording
    assert os.listdir(tmp_path) == ["run.mprof"]
    profiler.start()
    with mosaic.session(num_workers=1):
        assert profiler.path.startswith(str(tmp_path / "mosaic-workspace" / "profile_"))
    # The variable has the last word.
    profiler.start()
    monkeypatch.setenv("MOSAIC_PROFILE", "0")
    with mosaic.session(num_workers=1):
        assert not profiler.recording


def test_a_worker_that_joins_later_records_too(runner, tmp_path):
    file = tmp_path / "run.mprof"

    async def work(runtime):
        mosaic.profiler.start(file)
        before = {worker.uid for worker in runtime.workers}
        with pytest.raises(mosaic.RuntimeDisconnectedError):
            await runtime.submit(os._exit, 3)
        await runtime.wait_for_workers(2, 20)
        (joined,) = {worker.uid for worker in runtime.workers} - before
        assert await runtime.submit(max, 1, 2, runtime=joined).result() == 2
        return joined

    with mosaic.session(num_workers=2) as runtime:
        joined = runner.run(work(runtime))
    profile = model.build(tables.read(file))
    (at,) = rows(profile, "max")
    assert uid(profile, profile.runs.host[at]) == joined
    (lost,) = rows(profile, "_exit")
    assert model.status_text(profile.runs.status[lost]) == "disconnected"


def test_a_stop_is_no_call_that_has_not_ended(runner, tmp_path):
    async def stop():
        stage = Stage.remote("a")
        await stage.nothing()
        await stage.stop()

    file = tmp_path / "run.mprof"
    with mosaic.session(num_workers=1, profile=file):
        runner.run(stop())
    profile = model.build(tables.read(file))
    at = row(profile, "Stage.stop")
    assert model.status_text(profile.runs.status[at]) == "done"
    assert np.isnan(profile.runs.began[at]), "nothing ran"


def test_a_call_that_is_repeated_has_a_run_for_each_attempt(runner, tmp_path, flag):
    def work(first):
        if first.set_first():
            raise ValueError("again")
        return 7

    async def repeat(runtime):
        assert await runtime.submit(work, flag("first"), max_retries=1).result() == 7

    file = tmp_path / "run.mprof"
    with mosaic.session(num_workers=1, profile=file) as runtime:
        runner.run(repeat(runtime))
    profile = model.build(tables.read(file))
    both = rows(profile, "work.work")
    assert [model.status_text(profile.runs.status[at]) for at in both] == ["raised", "done"]
    assert len({int(profile.runs.task[at]) for at in both}) == 1
