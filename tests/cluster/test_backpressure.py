"""`max_pending`: a fast caller and a slow callee settle at a bound."""

import asyncio
import os
import threading

import pytest

import mosaic
from tests.support.actors import Blocker, Counter
from tests.support.memory import private_bytes
from tests.support.rendezvous import Flag, eventually

LIMIT = 50


def test_on_an_event_loop_a_call_raises_and_says_what_to_await(tmp_path):
    started, release = Flag(tmp_path / "started"), Flag(tmp_path / "release")

    async def main(runtime):
        blocker = Blocker.remote()
        first = blocker.until(started, release)
        tasks = []

        def call_too_often():
            for _ in range(10 * LIMIT):
                tasks.append(blocker.pid())

        with pytest.raises(mosaic.BackpressureError, match="await") as info:
            call_too_often()
        assert isinstance(info.value, mosaic.MosaicError)
        assert LIMIT - 5 <= len(tasks) <= LIMIT
        release.set()
        await first
        for task in tasks:
            await task
        # There is room again.
        assert await blocker.pid().result() == await tasks[0].result()

    mosaic.run(main, num_workers=1, max_pending=LIMIT)


def test_in_other_threads_a_call_waits(tmp_path):
    started, release = Flag(tmp_path / "started"), Flag(tmp_path / "release")
    with mosaic.session(num_workers=1, max_pending=LIMIT):
        blocker, counter = Blocker.remote(), Counter.remote()
        first = blocker.until(started, release)
        tasks = []

        def call():
            tasks.extend(counter.add(1) for _ in range(4 * LIMIT))

        thread = threading.Thread(target=call)
        thread.start()
        started.wait()
        eventually(lambda: len(tasks) >= LIMIT - 5, "the limit is reached")
        assert thread.is_alive(), "the caller is held up"
        assert len(tasks) <= LIMIT
        release.set()
        thread.join(30)
        assert not thread.is_alive()
        first.wait()
        assert tasks[-1].wait() == 4 * LIMIT


def test_the_default_is_large():
    async def main(runtime):
        counter = Counter.remote()
        tasks = [counter.add(1) for _ in range(20_000)]
        assert await tasks[-1].result() == 20_000

    mosaic.run(main, num_workers=1)


def test_chunks_of_a_map_stay_below_the_limit():
    async def main(runtime):
        return await runtime.map(abs, range(-5 * LIMIT, 0), chunksize=1)

    assert mosaic.run(main, num_workers=1, max_pending=LIMIT) == list(range(5 * LIMIT, 0, -1))


def test_a_refused_call_has_not_been_made(tmp_path):
    async def main(runtime):
        counter = Counter.remote()
        made = 0
        refused = 0
        while refused < 3:
            try:
                task = counter.add(1)
            except mosaic.BackpressureError:
                refused += 1
                await task
                await asyncio.sleep(0)
            else:
                made += 1
        await task
        assert await counter.value().result() == made

    mosaic.run(main, num_workers=1, max_pending=LIMIT)


def test_a_pending_call_takes_little_memory_of_the_caller(tmp_path):
    # Just beyond a doubling of the tables, where they are emptiest.
    count = 240_000
    started, release = Flag(tmp_path / "started"), Flag(tmp_path / "release")
    with mosaic.session(num_workers=1):
        blocker = Blocker.remote()
        first = blocker.until(started, release)
        started.wait()
        before = private_bytes(os.getpid())
        tasks = [blocker.pid() for _ in range(count)]
        each = (private_bytes(os.getpid()) - before) / count
        release.set()
        first.wait()
        tasks[-1].wait()
    assert each < 600
