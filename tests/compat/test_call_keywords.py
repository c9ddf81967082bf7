"""Which keywords of calls and constructions are mosaic's, and which are the method's own."""

import pytest

import mosaic


@mosaic.tessera
class Solver:
    def __init__(self, **kwargs):
        self.given = kwargs

    def run(self, shot, **kwargs):
        return shot, kwargs

    async def run_async(self, shot, **kwargs):
        return shot, kwargs

    def itself(self):
        return self

    def plain(self, shot):
        return shot

    def named(
        self, shot, *, timeout=None, is_async=None, runtime=None, eager=None, max_retries=None
    ):
        return shot, timeout, is_async, runtime, eager, max_retries


MOSAICS = {"is_async": True, "max_retries": 1, "eager": True}
NAMED = {"timeout": 30, "is_async": 1, "eager": 2, "max_retries": 3}


@pytest.mark.parametrize("method", ["run", "run_async"])
async def test_a_method_with_any_keywords_has_a_timeout_of_its_own(runtime, method):
    proxy, array = Solver.remote(), Solver.remote(len=2)
    worker = array.runtime_id[1]
    expected = (1, {"timeout": 30, "safe": False, "wait": 3})
    keywords = {"timeout": 30, "safe": False, "wait": 3, **MOSAICS}
    assert await getattr(proxy, method)(1, **keywords, runtime=worker).result() == expected
    assert await getattr(array, method)(1, **keywords).result() == [expected] * 2
    assert await getattr(array, method)(1, **keywords, runtime=worker).result() == expected


async def test_a_method_without_has_none_of_mosaics(runtime):
    proxy, array = Solver.remote(), Solver.remote(len=2)
    assert await proxy.plain(1, **MOSAICS, timeout=30, runtime="worker:0:0").result() == 1
    assert await array.plain(1, **MOSAICS, timeout=30).result() == [1, 1]


async def test_a_method_that_names_one_gets_it(runtime):
    proxy, array = Solver.remote(), Solver.remote(len=2)
    assert await proxy.named(1, **NAMED, runtime="r").result() == (1, 30, 1, "r", 2, 3)
    assert await array.named(1, **NAMED).result() == [(1, 30, 1, None, 2, 3)] * 2
    # On arrays it is the element that `runtime` picks.
    worker = array.runtime_id[1]
    assert await array.named(1, **NAMED, runtime=worker).result() == (1, 30, 1, None, 2, 3)


async def test_methods_of_living_results_likewise(runtime):
    task = Solver.remote().itself()
    found = task.remote.run(1, **MOSAICS, runtime="worker:0:0", timeout=30)
    assert await found.result() == (1, {"timeout": 30})


async def test_functions_likewise(runtime):
    assert await runtime.submit(lambda **kwargs: kwargs, timeout=30, is_async=True).result() == {
        "timeout": 30
    }


async def test_arrays_keep_timeout_and_safe_for_themselves(runtime):
    array = await Solver.remote(len=2, timeout=60, safe=True, tolerance=1)
    assert await array.given == [{"tolerance": 1}] * 2
    proxy = Solver.remote(timeout=60, safe=True)
    assert await proxy.given == {"timeout": 60, "safe": True}


@mosaic.tessera
class Slow:
    def __init__(self, started, release):
        started.set()
        release.wait()


async def test_an_array_that_is_not_there_in_time(runtime, flag):
    release = flag("release")
    array = Slow.remote(flag("started"), release, len=2, timeout=0.01)
    with pytest.raises(TimeoutError, match=r"array of Slow are not there after 0\.01 s.*pending"):
        await array
    release.set()
    for proxy in array:
        await proxy
