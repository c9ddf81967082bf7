"""`Tessera`: the hosting side, as programs see it through `Klass.local`."""

import asyncio
import os

import pytest

import mosaic
from tests.support.actors import Counter, Echo, Holder, Mortal
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


async def test_names_that_programs_use(runtime):
    hosted = Counter.local()
    for name in (
        "queue_task",
        "listen",
        "listen_async",
        "run_async",
        "call_safe",
        "send_exception",
        "make_parameter",
    ):
        assert callable(getattr(hosted, name)), name


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
