"""`max_restarts`: a tessera is rebuilt elsewhere; and what arrays do when elements die."""

import asyncio
import warnings

import pytest

import mosaic
from tests.support.deaths import Doomed

pytestmark = pytest.mark.faults

BOUND = 10.0


async def told(awaitable):
    with pytest.raises(mosaic.RuntimeDisconnectedError):
        await asyncio.wait_for(awaitable, BOUND)


async def test_rebuilt_after_a_death(fresh):
    doomed = Doomed.remote(max_restarts=1)
    assert await doomed.add(5).result() == 5
    first = await doomed.pid().result()
    await told(doomed.die())
    # Built anew from the arguments that it was made with.
    assert await asyncio.wait_for(doomed.add(1).result(), BOUND) == 1
    assert await doomed.pid().result() != first


async def test_not_rebuilt_unasked(fresh):
    doomed = Doomed.remote()
    await told(doomed.die())
    await told(doomed.add(1))


async def test_restarts_run_out(fresh):
    doomed = Doomed.remote(max_restarts=1)
    await told(doomed.die())
    assert await asyncio.wait_for(doomed.add(1).result(), BOUND) == 1
    await told(doomed.die())
    await told(doomed.add(1))


async def test_a_call_is_repeated_only_with_retries(fresh, flag):
    doomed = Doomed.remote(max_restarts=3)
    await told(doomed.die_once(flag("one")))
    assert (
        await asyncio.wait_for(doomed.die_once(flag("two"), max_retries=1).result(), BOUND)
        == "survived"
    )


async def test_calls_behind_the_deadly_one(fresh):
    # Each ends: done by the rebuilt object, or told.
    doomed = Doomed.remote(max_restarts=1)
    await doomed
    deadly = doomed.die()
    behind = [doomed.add(1) for _ in range(10)]
    await told(deadly)
    outcomes = await asyncio.wait_for(
        asyncio.gather(*(t.result() for t in behind), return_exceptions=True), BOUND
    )
    values = [o for o in outcomes if isinstance(o, int)]
    errors = [o for o in outcomes if not isinstance(o, int)]
    assert all(isinstance(o, mosaic.RuntimeDisconnectedError) for o in errors)
    assert values == list(range(1, len(values) + 1)), "in order, none twice"


async def test_death_in_the_constructor_is_a_restart_too(fresh, flag):
    doomed = Doomed.remote("kill", flag("once"), max_restarts=1)
    # Sent behind the constructor, it may have begun for all that the caller knows: it has to be allowed to be repeated.
    assert await asyncio.wait_for(doomed.add(2, max_retries=1).result(), BOUND) == 2


async def test_holders_elsewhere_follow(fresh):
    doomed = await Doomed.remote(max_restarts=1, runtime=fresh.workers[0])
    other = await Doomed.remote(runtime=fresh.workers[1])
    assert await other.ask(doomed, "add", 1).result() == 1
    await told(doomed.die())
    assert await asyncio.wait_for(other.ask(doomed, "add", 7).result(), BOUND) == 7


async def test_array_elements_keep_their_index(fresh):
    array = await Doomed.remote(len=2)
    dead, alive = array[0], array[1]
    await told(dead.die())
    assert len(array) == 1
    assert array[1].uid == alive.uid
    assert await array[1].add(1).result() == 1
    await told(array[0].add(1))
    assert await asyncio.wait_for(array.add(1).result(), BOUND) == [2]


async def test_an_array_all_of_whose_elements_died(fresh):
    array = await Doomed.remote(len=2)
    for element in list(array):
        await told(element.die())
    with pytest.raises(mosaic.RuntimeDisconnectedError):
        await asyncio.wait_for(array.add(1), BOUND)


async def test_a_death_while_an_array_is_built_is_a_warning(fresh, flag, caplog):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        array = await asyncio.wait_for(Doomed.remote("kill", flag("once"), len=2), BOUND)
        assert len(array) == 1
        assert await asyncio.wait_for(array.add(1).result(), BOUND) == [1]
    said = [str(w.message) for w in caught] + [r.getMessage() for r in caplog.records]
    assert any("worker:0:" in text for text in said)


async def test_unless_safe_is_false(fresh, flag):
    with pytest.raises(mosaic.RuntimeDisconnectedError):
        await asyncio.wait_for(Doomed.remote("kill", flag("once"), len=2, safe=False), BOUND)
