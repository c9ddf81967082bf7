"""A class whose methods store attributes in every way that can be read from their byte code.

Imports nothing of mosaic: any version of Python runs it, as ``python storing.py PATH_OF_STORED_NAMES``.
"""

import functools
import importlib.util
import sys


def decorated(function):
    def wrapper(*args, **kwargs):
        return function(*args, **kwargs)

    return wrapper


class lazy:
    """A descriptor that keeps its function."""

    def __init__(self, function):
        self.function = function

    def __get__(self, instance, owner=None):
        return self.function(instance)


class Base:
    def prepare(self):
        self.of_base = 1


class Storing(Base):
    """`STORED` are the names, one or more a method."""

    def __new__(cls, *args):
        made = super().__new__(cls)
        made.in_new = 1
        return made

    def __init__(self, x, y):
        self.x = x
        self.first, self.second = x, y
        self.added += 1
        self.annotated: int = 3
        self.item[0] += 1
        self.part.of_a_part = 1
        x.of_another = self
        object.__setattr__(self, "frozen", 3)

    def plain(self, values):
        setattr(self, "by_name", 1)  # noqa: B010
        for self.loop in values:
            pass
        with values as self.context:
            pass
        self.chained = self.twice = [value for value in values]  # noqa: C416
        for value in values:
            self.after_a_loop = value

    def nested(self, x):
        self.beside = x

        def outer():
            self.in_nested = x

            def inner():
                self.deep = x

            return inner

        return outer, lambda value: setattr(self, "in_lambda", value)

    def many(self, value):
        a = b = c = d = e = f = g = h = i = j = k = l = m = n = o = p = q = value  # noqa: E741
        self.among_many = (a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q)
        self.last = q

    def deleted(self, value):
        del self.only_deleted
        return self.only_read

    async def coroutine(self, value):
        async with value as self.entered:
            self.awaited = await value

    def generator(self):
        self.sent = yield

    @property
    def value(self):
        return 1

    @value.setter
    def value(self, value):
        self._value = value

    @functools.cached_property
    def cached(self):
        self.in_cached = 1

    @functools.lru_cache  # noqa: B019
    def remembered(self):
        self.in_lru = 1

    @functools.singledispatchmethod
    def dispatched(self, value):
        self.in_single = 1

    @dispatched.register
    def _(self, value: int):
        self.in_registered = 1

    @functools.wraps(Base.prepare)
    def wrapping(self):
        self.in_wrapping = 1

    @decorated
    def hidden(self):
        self.in_decorated = 1

    @lazy
    def lazily(self):
        self.in_descriptor = 1

    bound_later = functools.partialmethod(plain, ())

    @classmethod
    def of_class(cls):
        cls.on_class = 1

    @staticmethod
    def static(value):
        value.of_static = 1


STORED = {
    *"""
    of_base in_new x first second added annotated frozen by_name loop context chained twice after_a_loop beside
    in_nested deep in_lambda among_many last entered awaited sent _value in_cached in_lru in_single in_registered
    in_wrapping in_decorated in_descriptor on_class
    """.split()  # noqa: SIM905
}


if __name__ == "__main__":
    spec = importlib.util.spec_from_file_location("stored_names", sys.argv[1])
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    print(sorted(STORED ^ module.stored_names(Storing)))
