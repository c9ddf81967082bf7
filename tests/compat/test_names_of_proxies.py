"""The names that proxies have themselves, and those that give way to the class's own."""

import pytest

import mosaic
from tests.support.actors import Counter, Mortal
from tests.support.rendezvous import eventually_async


class Stopping:
    """Has a method by a name that mosaic 1.2's proxies did not have."""

    def __init__(self):
        self.is_proxy = "my own"
        self.stopped = 0

    def stop(self):
        self.stopped += 1
        return self.stopped


with pytest.warns(
    UserWarning,
    match=r"Stopping has its own stop: on proxies it wins.*mosaic\.stop_tessera\(proxy\)",
):
    mosaic.tessera(Stopping)


@mosaic.tessera
class Attributes:
    """Stores attributes by the names that give way."""

    def __init__(self):
        self.stop = 3


@mosaic.tessera
class Everything:
    """Has methods and attributes by the names that win on proxies."""

    type = "my own"

    def __init__(self):
        self.uid = "my own"
        self.args = "my own"

    def init(self):
        return "my own"

    def collectable(self):
        return "my own"


async def test_a_stop_of_the_class_wins(runtime):
    proxy, array = Stopping.remote(), Stopping.remote(len=2)
    assert await proxy.stop().result() == 1
    assert await proxy["stop"]().result() == 2
    assert proxy.state == "listening"
    assert await array.stop().result() == [1, 1]
    assert await array.stop(runtime=array.runtime_id[0]).result() == 2
    assert await proxy.is_proxy == "my own"
    assert await array.is_proxy == ["my own"] * 2
    assert await Attributes.remote().stop == 3


async def test_stop_tessera_frees_what_has_its_own_stop(runtime):
    proxy, array = Stopping.remote(), Stopping.remote(len=2)
    await mosaic.stop_tessera(proxy)
    await mosaic.stop_tessera(array)
    assert [proxy.state, *array.state] == ["stopped"] * 3
    with pytest.raises(mosaic.TesseraStoppedError):
        await proxy.stop()


async def test_stop_tessera_of_anything_that_is_one(runtime, log, warehouse):
    proxy = Mortal.remote(log, "proxy")
    mosaic.stop_tessera(proxy)
    await eventually_async(lambda: "proxy" in log.lines(), "the proxy's object is freed")
    hosted = Counter.local()
    await mosaic.stop_tessera(hosted)
    with pytest.raises(mosaic.TesseraStoppedError):
        await hosted.proxy.add(1)
    parameter = await Counter.parameter()
    await mosaic.stop_tessera(parameter)
    with pytest.raises(mosaic.ObjectLostError):
        await parameter.pull()
    with pytest.raises(TypeError, match=r"stop_tessera\(\) takes a proxy"):
        mosaic.stop_tessera(3)


async def test_where_the_class_has_none_proxies_stop(runtime):
    proxy, array = Counter.remote(), Counter.remote(len=2)
    await proxy.stop()
    await array.stop()
    assert [proxy.state, *array.state] == ["stopped"] * 3


async def test_names_of_this_process(runtime):
    proxy, array = await Counter.remote(max_retries=2), await Counter.remote(len=2, max_retries=2)
    task = proxy.add(1)
    for one in (proxy, array, task, array.add(1)):
        assert one.runtime is runtime
        assert one.comms is runtime
        assert one.head is mosaic.get_head()
        assert one.monitor.uid == "monitor"
        assert one.loop is not None
        one.logger.debug("of this process")
    for one in (proxy, array):
        assert (one.max_retries, one.is_async, one.args, one.kwargs) == (2, False, (), {})
    assert Counter.remote(is_async=True).is_async is True


@mosaic.tessera
class There:
    def look(self, proxies):
        proxy, task = proxies
        return [one.runtime.uid for one in (proxy, task)], proxy.max_retries


async def test_names_of_the_process_where_a_proxy_is(runtime):
    where = runtime.workers[1].uid
    proxy = Counter.remote(max_retries=1)
    told = await There.remote(runtime=where).look([proxy, proxy.add(1)]).result()
    assert told == ([where, where], 1)


async def test_the_names_of_1_2_win(runtime):
    proxy = await Everything.remote()
    assert (proxy.type, proxy.args, proxy.collectable) == ("tessera_proxy", (), True)
    assert proxy.uid.startswith("tess-everything-")
    assert await proxy["init"]().result() == "my own"
    assert await proxy["uid"] == await proxy.get_attr("uid") == "my own"
