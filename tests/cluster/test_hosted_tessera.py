"""`Tessera`: the hosting side, as programs see it through `Klass.local`."""

import asyncio
import os

import pytest

import mosaic
from tests.support.actors import Blocker, Counter, Echo, Holder, Mortal
from tests.support.rendezvous import eventually_async


async def test_what_it_tells(runtime):
    hosted = Counter.local(3)
    assert isinstance(hosted, mosaic.core.Tessera)
    assert hosted.uid.startswith("tess-counter-")
    assert type(hosted.obj) is Counter
    assert hosted.obj.count == 3
    assert hosted.is_parameter is False
    assert isinstance(hosted.collectable, bool)
    assert isinstance(hosted.type, str)
    assert isinstance(hosted.remote_cls(), type)
    await Echo.remote().call(hosted, "value")
    assert hosted.state == "listening"


async def test_the_object_knows_its_tessera_at_once(runtime):
    hosted = Counter.local()
    obj = hosted.obj
    view = obj._tessera
    assert (view.uid, view.runtime_id) == (hosted.uid, hosted.runtime_id)
    assert not hasattr(obj, "uid")
    await Echo.remote().call(hosted, "value")
    assert obj._tessera is view


async def test_attributes(runtime):
    hosted = Counter.local(3)
    value = hosted.get_attr("count")
    assert (await value if asyncio.isfuture(value) or hasattr(value, "__await__") else value) == 3
    done = hosted.set_attr("count", 8)
    if hasattr(done, "__await__"):
        await done
    assert hosted.obj.count == 8


async def test_who_holds_proxies(runtime):
    hosted = Counter.local()
    holder = await Holder.remote(hosted)
    await eventually_async(
        lambda: holder.runtime_id in {getattr(r, "uid", r) for r in hosted.remote_runtime},
        "the holder's runtime is known",
    )


async def test_calls_on_it_are_ordered(runtime):
    hosted = Counter.local()
    echo = Echo.remote()

    @mosaic.tessera
    class Many:
        async def add(self, counter, n):
            tasks = [counter.add(i) for i in range(n)]
            return [await task.result() for task in tasks]

    sums = await Many.remote().add(hosted, 50).result()
    assert sums == [sum(range(i + 1)) for i in range(50)]
    assert hosted.obj.seen == list(range(50))
    assert await echo.call(hosted, "value").result() == sum(range(50))


async def test_failures_arrive_at_the_caller(runtime):
    hosted = Echo.local()
    with pytest.raises(ValueError, match="from the driver"):
        await Echo.remote().call(hosted, "fail", ValueError("from the driver"))


async def test_it_listens_once_its_calls_run(runtime):
    hosted = Counter.local()
    await hosted.listen_async()
    assert await hosted.proxy.add(1).result() == 1
    hosted.listen()  # there is nothing to wait for any more


async def test_listening_first_must_not_block_the_loop_that_it_needs(runtime):
    hosted = Counter.local()
    with pytest.raises(mosaic.MosaicError, match="event loop"):
        hosted.listen()
    await hosted.listen_async()


async def test_queued_calls_are_waited_for_together(runtime, flag):
    started, release = flag("started"), flag("release")
    hosted = Blocker.local()
    first = hosted.proxy.until_async(started, release)
    second = hosted.proxy.pid()
    for task in (first, second):
        hosted.queue_task(task)
    ran = asyncio.ensure_future(hosted.run_async())
    await started.wait_async()
    assert not ran.done()
    release.set()
    await ran
    assert first.done()
    assert second.done()
    await hosted.run_async()  # nothing is left


async def test_a_queued_call_that_fails_is_its_callers_to_hear_of(runtime):
    hosted = Echo.local()
    task = hosted.proxy.fail(KeyError("for its caller"))
    hosted.queue_task(task)
    await hosted.run_async()
    with pytest.raises(KeyError, match="for its caller"):
        await task


async def test_only_its_own_calls_can_be_queued(runtime):
    hosted = Counter.local()
    with pytest.raises(ValueError, match="only its own"):
        hosted.queue_task(Echo.remote().back(1))
    with pytest.raises(TypeError, match="takes a task"):
        hosted.queue_task("add")


@mosaic.tessera
class Fragile:
    def plain(self):
        return "plain"

    async def coroutine(self):
        return "coroutine"

    def fails(self):
        raise ValueError("fragile")


async def test_a_safe_call_gives_the_result(runtime):
    hosted = Fragile.local()
    assert await hosted.call_safe("head", "plain", None) == "plain"
    assert await hosted.call_safe("head", "coroutine", None) == "coroutine"
    assert await hosted.call_safe("head", lambda: 3, None) == 3


async def test_a_safe_call_that_fails_is_logged_with_its_caller_and_raised(runtime, caplog):
    hosted = Fragile.local()
    task = hosted.proxy.plain()
    with pytest.raises(ValueError, match="fragile"):
        await hosted.call_safe("worker:0:7", "fails", task)
    (record,) = [record for record in caplog.records if record.levelname == "ERROR"]
    message = record.getMessage()
    for part in (hosted.uid, "fails", task.uid, "worker:0:7"):
        assert part in message
    assert record.exc_info[1].args == ("fragile",)
    await task


async def test_there_must_be_an_exception_to_send(runtime):
    with pytest.raises(mosaic.MosaicError, match="except"):
        Fragile.local().send_exception("head", "plain", None)


async def test_a_constructor_that_fails_here_raises_here(runtime):
    with pytest.raises(TypeError):
        Counter.local(1, 2, 3, 4)


async def test_freed_when_nobody_holds_it(runtime, log):
    hosted = Mortal.local(log, "hosted here")
    holder = Holder.remote(hosted)
    assert await holder.ask(0, "hello").result() == "hosted here"
    del hosted
    assert log.lines() == []
    await holder.forget(0)
    await eventually_async(lambda: log.lines() == ["hosted here"], "freed")


async def test_objects_know_where_they_live(runtime):
    @mosaic.tessera
    class Aware:
        def where(self):
            return mosaic.runtime().uid, os.getpid()

    proxy = await Aware.remote()
    uid, pid = await proxy.where().result()
    assert uid == proxy.runtime_id
    assert pid != os.getpid()
    assert Aware.local().obj.where() == (mosaic.runtime().uid, os.getpid())
