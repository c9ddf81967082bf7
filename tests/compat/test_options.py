"""The keywords of `mosaic.init` and `mosaic.run`, and what a runtime tells of itself."""

import asyncio

import pytest

import mosaic
from mosaic.runtime import MonitorStrategy, RoundRobin, monitor_strategies

EVERY = {
    "runtime_type": "head",
    "runtime_indices": (),
    "address": None,
    "port": None,
    "parent_id": None,
    "parent_address": None,
    "parent_port": None,
    "monitor_address": None,
    "monitor_port": None,
    "pubsub_port": None,
    "num_workers": 1,
    "num_threads": 1,
    "mode": "local",
    "reuse_head": False,
    "monitor_strategy": "round-robin",
    "log_level": "perf",
    "profile": False,
    "node_list": None,
    "timeout": 60,
    "asyncio_loop": None,
    "dump_init": False,
    "wait": False,
    "runtime_uid": None,
    "local_warehouse_uid": None,
}


async def describe(runtime, *args):
    return runtime.mode, runtime.num_workers, runtime.uid, args


def test_every_keyword_is_taken_by_run():
    assert mosaic.run(describe, **EVERY) == ("local", 1, "head", ())


def test_every_keyword_is_taken_by_init():
    runtime = mosaic.init(**EVERY)
    try:
        assert runtime is mosaic.runtime()
        assert runtime.submit(abs, -3).wait() == 3
    finally:
        mosaic.stop()
    assert mosaic.runtime() is None


def test_a_misspelt_keyword_is_named():
    with pytest.raises(TypeError, match="num_worker"):
        mosaic.run(describe, num_worker=1)


@pytest.mark.parametrize("mode", ["cluster", "dynamic"])
def test_the_mode_is_what_was_asked_for(mode):
    assert mosaic.run(describe, num_workers=1, mode=mode)[0] == mode


def test_a_loop_of_the_programs_own_stays_open():
    loop = asyncio.new_event_loop()
    try:
        assert mosaic.run(describe, "more", num_workers=1, asyncio_loop=loop)[3] == ("more",)
        assert loop.run_until_complete(asyncio.sleep(0, "open")) == "open"
    finally:
        loop.close()


class Last(MonitorStrategy):
    """Always the last worker."""

    def choose(self, workers):
        return workers[-1]


@mosaic.tessera
class Somewhere:
    def where(self):
        return mosaic.runtime().uid


async def places(runtime):
    return [await Somewhere.remote().where().result() for _ in range(4)]


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [
        ("round-robin", [0, 1, 0, 1]),
        (RoundRobin, [0, 1, 0, 1]),
        (Last, [1, 1, 1, 1]),
    ],
)
def test_strategies(strategy, expected):
    found = mosaic.run(places, num_workers=2, monitor_strategy=strategy)
    assert found == [f"worker:0:{index}" for index in expected]


def test_strategies_by_name():
    assert monitor_strategies["round-robin"] is RoundRobin
    monitor_strategies["last"] = Last
    try:
        assert set(mosaic.run(places, num_workers=2, monitor_strategy="last")) == {"worker:0:1"}
    finally:
        del monitor_strategies["last"]


async def test_workers_tell_their_devices(runtime):
    assert [worker.indices[1] for worker in runtime.workers] == [0, 1]
    assert [
        await runtime.submit(device, runtime=worker).result() for worker in runtime.workers
    ] == [
        0,
        1,
    ]


def device():
    return mosaic.runtime().indices[1]


async def test_a_runtime_proxy_travels(runtime):
    worker = runtime.workers[1]
    assert await runtime.submit(uid_of, worker, runtime=runtime.workers[0]).result() == worker.uid
    assert await Somewhere.remote(runtime=worker).where().result() == worker.uid


def uid_of(worker):
    return worker.uid
