"""What a worker does with the chunks of a map: each item once, whoever asks for some of them back."""

import asyncio
import threading

import pytest

from mosaic.core.failure import decode_exception
from mosaic.runtime.chunks import run_chunk, run_chunk_async, take_back
from mosaic.serialise.codec import dumps, loads


def back(count, token, serial):
    return asyncio.run(take_back(token, serial, count))


def double(value):
    return 2 * value


def run(token, serial, rows, function=double):
    answer = run_chunk(token, serial, dumps(function), rows, 0)
    assert answer is not None
    return answer[1]


def test_a_chunk_that_nobody_wants_back():
    assert run("whole", 1, [(1,), (2,)]) == [2, 4]


def test_what_came_before_a_failure_is_kept():
    def fail_at_two(value):
        if value == 2:
            raise KeyError(value)
        return value

    rows = [(0,), (1,), (2,), (3,)]
    answer = run_chunk("fails", 1, dumps(fail_at_two), rows, 0)
    assert answer is not None
    _, values, failure = answer
    assert values == [0, 1]
    message, exception = loads(dumps(failure))
    error = decode_exception(message, exception)
    assert type(error) is KeyError
    assert error.args == (2,)


def test_a_function_that_is_not_known():
    assert run_chunk("unknown", 1, None, [(1,)], 0) is None


def test_all_of_a_chunk_that_waits():
    assert back(3, "waits", 1) == 0
    assert run("waits", 1, [(1,), (2,), (3,)]) == []
    assert run("waits", 2, [(1,)]) == [2], "others are as they were"


def test_nothing_of_a_chunk_that_has_ended():
    assert run("ended", 1, [(1,), (2,)]) == [2, 4]
    assert back(2, "ended", 1) == 2


@pytest.mark.parametrize("count", [1, 2, 3, 8])
def test_half_of_what_a_running_chunk_has_not_started(count):
    started, release = threading.Event(), threading.Event()

    def function(value):
        if value == 0:
            started.set()
            assert release.wait(20)
        return value

    token = f"runs-{count}"
    chunks = []
    from mosaic.runtime import chunks as module

    module._functions[token] = function
    rows = [(i,) for i in range(count)]
    thread = threading.Thread(target=lambda: chunks.append(run_chunk(token, 1, None, rows, 0)))
    thread.start()
    assert started.wait(20)
    kept = back(count, token, 1)
    again = back(kept, token, 1)
    release.set()
    thread.join()
    assert kept == 1 + (count - 1) // 2
    assert again == 1 + (kept - 1) // 2
    assert chunks[0][1] == list(range(again))


def test_no_item_twice_and_none_lost_while_asked_for_all_the_time():
    for serial in range(20):
        taken = []
        rows = [(i,) for i in range(2000)]

        def ask(serial=serial, taken=taken, rows=rows):
            kept = len(rows)
            for _ in range(3):
                left = back(kept, "raced", serial)
                taken.extend(range(left, kept))
                kept = left

        thread = threading.Thread(target=ask)
        thread.start()
        done = run("raced", serial, rows)
        thread.join()
        assert sorted([value // 2 for value in done] + taken) == list(range(2000))


def test_coroutine_functions_too():
    async def function(value):
        await asyncio.sleep(0)
        return value

    async def both():
        running = asyncio.ensure_future(
            run_chunk_async("async", 1, dumps(function), [(1,), (2,), (3,)], 0)
        )
        await asyncio.sleep(0)
        kept = await take_back("async", 1, 3)
        return kept, (await running)[1]

    assert asyncio.run(both()) == (2, [1, 2])
