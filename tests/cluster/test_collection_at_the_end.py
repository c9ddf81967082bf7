"""What the end of a runtime leaves in its driver is freed."""

import asyncio
import gc
import weakref

import mosaic
from tests.support.rendezvous import eventually_async

left = []


class Marker:
    """Tells whether it was collected."""


@mosaic.tessera
class Endless:
    async def wait(self):
        marker = Marker()
        # asyncio's task has what runs the coroutine, and that has the coroutine.
        marker.held = asyncio.current_task()
        left.append(weakref.ref(marker))
        await asyncio.Event().wait()


def test_coroutine_that_was_running_is_collected():
    async def main(runtime):
        waiting = Endless.local().proxy.wait()
        await eventually_async(lambda: left, "begun")
        waiting.failure()

    mosaic.run(main, num_workers=1)
    gc.collect()
    assert left[0]() is None
