"""What a proxy tells about itself, and how it ends."""

import re

import pytest

import mosaic
from tests.support.actors import Blocker, Counter, Echo, Mortal
from tests.support.rendezvous import eventually_async


@mosaic.tessera
class Chooser:
    """Has parameters named as mosaic's own keywords."""

    def mine(self, timeout, runtime="default", max_retries=None, eager=None):
        return timeout, runtime, max_retries, eager

    def none(self, **kwargs):
        return kwargs

    def uid(self):
        return "the user's uid"


async def test_repr(runtime):
    proxy = await Counter.remote()
    pattern = (
        r"<TesseraProxy object at 0x[0-9a-f]+, uid=tess-counter-\S+, "
        r"runtime=worker:0:\d+, state=listening>"
    )
    assert re.fullmatch(pattern, repr(proxy))


async def test_what_a_proxy_tells(runtime):
    proxy = await Counter.remote()
    worker = proxy.runtime_id
    assert worker in {w.uid for w in runtime.workers}
    assert proxy.remote_runtime.uid == worker
    assert proxy.state == "listening"
    assert proxy.is_parameter is False
    assert isinstance(proxy.collectable, bool)
    assert isinstance(proxy.remote_cls(), type)
    assert isinstance(proxy.remote_type(), str)
    assert type(proxy).__name__ == "TesseraProxy"
    assert isinstance(proxy, mosaic.core.TesseraProxy)


async def test_init_future_ends_with_construction(runtime):
    proxy = Counter.remote()
    await proxy.init_future
    assert proxy.state == "listening"


async def test_select_worker_of_a_proxy(runtime):
    proxy = await Counter.remote()
    assert await proxy.select_worker("worker:0:0") == "worker:0:0"


async def test_methods_by_name(runtime):
    proxy = Counter.remote(1)
    assert await proxy["add"](4).result() == 5
    assert await proxy["value"]().result() == 5


async def test_own_names_win_and_brackets_reach_the_users(runtime):
    proxy = await Chooser.remote()
    assert proxy.uid.startswith("tess-chooser-")
    assert await proxy["uid"]().result() == "the user's uid"


async def test_keywords_of_mosaic_are_consumed(runtime):
    proxy = Counter.remote()
    task = proxy.add(2, eager=True, runtime="worker:0:0", max_retries=1, timeout=20)
    assert await task.result() == 2


async def test_keywords_that_the_method_declares_are_its_own(runtime):
    proxy = Chooser.remote()
    assert await proxy.mine(3, runtime="r", max_retries=5, eager=False).result() == (
        3,
        "r",
        5,
        False,
    )
    assert await proxy.mine(timeout=0).result() == (0, "default", None, None)


async def test_keywords_are_consumed_before_variable_ones(runtime):
    # `**kwargs` declares a limit of the method's own, and no other of mosaic's keywords.
    task = Chooser.remote().none(
        timeout=20, x=1, runtime=None, max_retries=1, eager=True, is_async=True
    )
    assert await task.result() == {"timeout": 20, "x": 1}


async def test_equality_and_hash(runtime):
    one, two = await Counter.remote(), await Counter.remote()
    assert one != two
    assert len({one, two, one}) == 2
    assert one in [two, one]
    # The same tessera, come back from elsewhere.
    again = await Echo.remote().back(one).result()
    assert again == one
    assert hash(again) == hash(one)


async def test_stop_frees_the_object_and_refuses_calls(runtime, log):
    proxy = Mortal.remote(log, "stopped")
    kept = proxy.hello()
    await kept
    await proxy.stop()
    await eventually_async(lambda: log.lines() == ["stopped"], "__del__ ran")
    assert proxy.state == "stopped"
    with pytest.raises(mosaic.MosaicError, match=r"(?i)stopped"):
        await proxy.hello()
    assert await kept.result() == "stopped", "results outlive stop"


async def test_stop_twice(runtime, log):
    proxy = await Mortal.remote(log, "once")
    await proxy.stop()
    await proxy.stop()
    await eventually_async(lambda: log.lines() == ["once"], "__del__ ran")


async def test_stop_comes_after_the_calls_before_it(runtime):
    proxy = Counter.remote()
    tasks = [proxy.add() for _ in range(20)]
    await proxy.stop()
    assert [await task.result() for task in tasks] == list(range(1, 21))


async def test_calls_of_one_caller_run_in_order(runtime):
    proxy = Counter.remote()
    for i in range(500):
        proxy.add(i)
    assert await proxy.order().result() == list(range(500))


async def test_a_call_starts_without_being_awaited(runtime, flag):
    started, release = flag("started"), flag("release")
    task = Blocker.remote().until_async(started, release)
    # Nothing is awaited on this loop, and it is not even given a turn.
    started.wait()
    release.set()
    await task
