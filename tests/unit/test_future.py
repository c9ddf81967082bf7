"""`Future`: set from any thread, awaited on any loop."""

import asyncio
import threading

import pytest

from mosaic.utils import Future, async_property


def test_set_from_another_thread():
    async def main():
        future = Future(name="answer")
        threading.Timer(0.01, future.set_result, [42]).start()
        return await future, future.result(), future.done()

    assert asyncio.run(main()) == (42, 42, True)


def test_two_loops_wait_for_one():
    future = Future()

    async def main():
        return await future

    found = []
    threads = [threading.Thread(target=lambda: found.append(asyncio.run(main()))) for _ in range(2)]
    for thread in threads:
        thread.start()
    future.set_result("value")
    for thread in threads:
        thread.join()
    assert found == ["value", "value"]


def test_exceptions_and_callbacks():
    future = Future()
    seen = []
    future.add_done_callback(seen.append)
    future.set_exception(ValueError("no"))
    assert seen == [future]
    with pytest.raises(ValueError, match="no"):
        future.result()

    async def main():
        await future

    with pytest.raises(ValueError, match="no"):
        asyncio.run(main())


def test_a_loops_thread_is_not_blocked():
    async def main():
        future = Future(name="answer")
        for ask in (future.result, future.exception):
            with pytest.raises(asyncio.InvalidStateError, match="'answer' is not done: await it"):
                ask()

    asyncio.run(main())
    with pytest.raises(TimeoutError):
        Future().result(timeout=0.001)


def test_a_waiter_that_gives_up_leaves_it_to_others():
    async def main():
        future = Future()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(future, 0.001)
        assert not future.cancelled()
        first, second = asyncio.ensure_future(wait(future)), asyncio.ensure_future(wait(future))
        await asyncio.sleep(0)
        first.cancel()
        future.set_result(1)
        return await second

    async def wait(future):
        return await future

    assert asyncio.run(main()) == 1


def test_state_and_uid():
    futures = [Future(name="answer") for _ in range(4)]
    assert {future.state for future in futures} == {"pending"}
    assert len({future.uid for future in futures}) == 4
    assert "answer" in futures[0].uid
    futures[1].set_result(None)
    futures[2].set_exception(ValueError("no"))
    futures[3].cancel()
    assert [future.state for future in futures] == ["pending", "done", "failed", "cancelled"]


def test_async_property():
    class Field:
        def __init__(self):
            self.value = 2

        @async_property
        async def norm(self):
            """How long it is."""
            return self.value

    async def main():
        return await Field().norm

    assert asyncio.run(main()) == 2
    assert Field.norm.__doc__ == "How long it is."
    with pytest.raises(TypeError, match="async def"):
        async_property(len)
