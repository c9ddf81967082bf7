"""The event loop of a runtime where none runs: `mosaic.get_event_loop()` in synchronous programs."""

import asyncio

import mosaic


async def add(first, second=0):
    await asyncio.sleep(0)
    return first + second


async def running():
    return asyncio.get_running_loop()


def test_the_loop_is_there_while_it_does_not_run():
    with mosaic.session(num_workers=1) as runtime:
        loop = mosaic.get_event_loop()
        of_asyncio = loop.get_event_loop()
        assert isinstance(of_asyncio, asyncio.AbstractEventLoop)
        assert not of_asyncio.is_running()
        assert mosaic.get_event_loop().get_event_loop() is of_asyncio
        assert of_asyncio.run_until_complete(add(1, 2)) == 3
        assert loop.run(add, 1, second=2) == 3
        assert loop.run(running) is of_asyncio
        seen = []
        of_asyncio.call_soon(lambda: loop.timeout(lambda: (seen.append(1), loop.stop()), 0.01))
        loop.run_forever()
        assert seen == [1]
        assert runtime.loop.loop is of_asyncio
        left = of_asyncio.create_task(asyncio.sleep(100))
    assert of_asyncio.is_closed()
    assert left.cancelled()


def test_the_loop_of_the_program_is_used():
    own = asyncio.new_event_loop()
    mosaic.init(num_workers=1, asyncio_loop=own)
    try:
        assert mosaic.get_event_loop().get_event_loop() is own
        assert mosaic.get_event_loop().run(running) is own
    finally:
        mosaic.stop()
    assert not own.is_closed()
    own.close()
