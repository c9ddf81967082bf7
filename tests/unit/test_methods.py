"""What a class tells of its methods."""

import asyncio
import functools

from mosaic.core import methods
from mosaic.core.methods import ATTRIBUTE, Method, describe


def wraps(function):
    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        return function(*args, **kwargs)

    return wrapper


class Base:
    inherited = 3

    def __add__(self, other):
        return other


class Thing(Base):
    noted: int
    nothing = None
    __hash__ = None

    def plain(self, x, timeout=None, *, runtime=None):
        return x

    async def coroutine(self):
        await asyncio.sleep(0)

    @staticmethod
    def static(eager):
        return eager

    @classmethod
    async def of_class(cls):
        return cls

    @property
    def value(self):
        return 1

    @functools.cached_property
    def cached(self):
        return 1

    @wraps
    def wrapped(self, max_retries):
        return max_retries

    partial = functools.partialmethod(plain, 3)

    def anything(self, **kwargs):
        return kwargs

    def _private(self):
        return 1

    def __call__(self):
        return 1

    def __eq__(self, other):
        return True


class Closed:
    __slots__ = ("a",)


def test_methods_are_told_from_attributes():
    for name in (
        "plain",
        "static",
        "of_class",
        "coroutine",
        "wrapped",
        "partial",
        "_private",
        "__call__",
    ):
        assert isinstance(describe(Thing, name), Method), name
    for name in ("value", "cached", "noted", "inherited", "nothing"):
        assert describe(Thing, name) is ATTRIBUTE, name
    assert describe(Thing, "missing") is None
    assert describe(Closed, "a") is ATTRIBUTE


def test_coroutine_functions_are_known():
    assert describe(Thing, "coroutine").coroutine
    assert describe(Thing, "of_class").coroutine
    assert not describe(Thing, "plain").coroutine
    assert methods.is_coroutine_function(functools.partial(Thing.coroutine, 1))
    assert not methods.is_coroutine_function(len)


def test_declared_keywords_are_the_methods_own():
    assert describe(Thing, "plain").reserved == {"eager", "is_async", "max_retries"}
    assert describe(Thing, "static").reserved == methods.RESERVED - {"eager"}
    assert describe(Thing, "wrapped").reserved == methods.RESERVED - {"max_retries"}
    assert describe(Thing, "coroutine").reserved == methods.RESERVED
    # The wrapper's own `**kwargs` are none of the method's.
    assert describe(Thing, "anything").reserved == methods.RESERVED - {"timeout"}


def test_operators_that_are_forwarded():
    assert methods.forwarded(Thing) == ["__add__", "__call__"]
    assert methods.forwarded(Closed) == []


def test_a_class_that_forwards_keeps_its_name():
    class Proxy:
        def _send(self, name):
            return lambda *args: (name, args)

    derived = methods.forwarding_class(Proxy, Thing)
    assert derived.__name__ == "Proxy"
    assert derived is methods.forwarding_class(Proxy, Thing)
    assert derived() + 2 == ("__add__", (2,))
    assert methods.forwarding_class(Proxy, Closed) is Proxy


def test_the_names_of_proxies_own_are_these():
    from mosaic.core.proxy import OWN_NAMES

    assert {
        "collectable",
        "get_attr",
        "args",
        "comms",
        "head",
        "init",
        "init_future",
        "is_parameter",
        "is_async",
        "is_proxy",
        "kwargs",
        "logger",
        "loop",
        "make_parameter",
        "max_retries",
        "monitor",
        "remote_cls",
        "remote_runtime",
        "remote_type",
        "runtime",
        "runtime_id",
        "select_worker",
        "set_attr",
        "state",
        "state_changed",
        "stop",
        "type",
        "uid",
    } == OWN_NAMES
