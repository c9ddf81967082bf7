"""A program whose own classes and functions go to workers and back; prints what does not arrive as it was.

Run as a script: only the classes of `__main__` travel by value.
"""

import abc
import asyncio
import collections
import dataclasses
import enum
import functools
import sys
import typing
import weakref

import mosaic

T = typing.TypeVar("T")
P = typing.ParamSpec("P")
Ts = typing.TypeVarTuple("Ts")
ShotId = typing.NewType("ShotId", int)


class SameType:
    def __eq__(self, other):
        return type(other) is type(self)

    __hash__ = None


class Shot(typing.NamedTuple):
    index: int
    energy: float = 1.0

    def twice(self):
        return self.energy * 2


class LaterShot(Shot):
    pass


class Pair(typing.NamedTuple, typing.Generic[T]):
    first: T


Old = collections.namedtuple("Old", "a b")


class Options(typing.TypedDict, total=False):
    a: int
    b: typing.Required[str]


@typing.runtime_checkable
class Runs(typing.Protocol):
    def run(self) -> int: ...


class Runner(Runs, SameType):
    def run(self):
        return 1


class Operator(abc.ABC):
    @abc.abstractmethod
    def apply(self): ...


class Scale(Operator, SameType):
    def apply(self):
        return 1


class Field(typing.Generic[T, P], SameType):
    pass


class Fields(typing.Generic[*Ts], SameType):
    pass


class Meta(type):
    def __call__(cls, *args):
        made = super().__call__(*args)
        made.counted = True
        return made


class Counted(metaclass=Meta):
    def __eq__(self, other):
        return self.counted == other.counted


class Level(enum.IntEnum):
    LOW = 1
    ALSO_LOW = 1


class Flags(enum.Flag):
    A = enum.auto()
    B = enum.auto()
    BOTH = A | B


class Name(enum.StrEnum):
    X = enum.auto()


class Medium(enum.Enum):
    WATER = (1500, 1000)
    BONE = (3000, 1900)

    def __init__(self, speed, density):
        self.speed = speed
        self.density = density

    @property
    def impedance(self):
        return self.speed * self.density


class Slots:
    __slots__ = ("__hidden", "__weakref__", "a")

    def __init__(self):
        self.a = 1
        self.__hidden = 2

    def __eq__(self, other):
        return (self.a, self.__hidden) == (other.a, other.__hidden)


class OneSlot:
    __slots__ = "only"  # noqa: PLC0205

    def __init__(self):
        self.only = 1

    def __eq__(self, other):
        return self.only == other.only


@dataclasses.dataclass(slots=True, frozen=True, order=True)
class Frozen:
    x: int
    y: list = dataclasses.field(default_factory=list)


@dataclasses.dataclass(slots=True)
class Thawed:
    x: int


@dataclasses.dataclass(slots=True)
class Wet(Thawed):
    y: int = 3


class Named:
    def __set_name__(self, owner, name):
        self.name = name

    def __get__(self, held, owner):
        return self if held is None else held.__dict__[self.name]

    def __set__(self, held, value):
        held.__dict__[self.name] = value


class UsesNamed:
    d = Named()

    def __init__(self):
        self.d = 4

    def __eq__(self, other):
        return self.d == other.d


class Plugin:
    known: typing.ClassVar[list] = []

    def __init_subclass__(cls):
        Plugin.known.append(cls.__name__)


class OnePlugin(Plugin, SameType):
    pass


class noted_property(functools.cached_property):
    pass


class Grid:
    @functools.cached_property
    def spacing(self):
        return 0.5

    @noted_property
    def size(self):
        return 2

    def __eq__(self, other):
        return (self.spacing, self.size) == (other.spacing, other.size)


class typed_property(property):
    pass


class typed_static(staticmethod):
    pass


class typed_class(classmethod):
    pass


class Wrapped:
    @typed_property
    def x(self):
        return 4

    @typed_static
    def s(a):  # noqa: N805
        return a + 1

    @typed_class
    def c(cls):  # noqa: N805
        return cls.__name__

    def seen(self):
        return self.x, self.s(1), self.c()

    def __eq__(self, other):
        return self.seen() == other.seen()


class Partial:
    def add(self, a, b):
        return a + b

    five_more = functools.partialmethod(add, 5)
    most = staticmethod(functools.partial(max, 4))

    def __eq__(self, other):
        return other.five_more(2) == 7 and other.most(3) == 4


class Dispatching:
    @functools.singledispatchmethod
    def kind(self, x):
        return "any"

    @kind.register
    def _(self, x: int):
        return "int"

    @kind.register(list)
    def _(self, x):
        return [self.kind(item) for item in x]

    def __eq__(self, other):
        return other.kind([1, "", []]) == ["int", "any", []]


class Cached(SameType):
    __hash__ = object.__hash__

    @functools.lru_cache(maxsize=3)  # noqa: B019
    def plain(self, x):
        return x + 1

    @staticmethod
    @functools.cache
    def static(x):
        return x + 2

    @classmethod
    @functools.cache
    def of_class(cls, x):
        return cls.__name__, x

    def seen(self):
        return self.plain(1), self.static(1), self.of_class(1)


class Registered:
    living: typing.ClassVar = weakref.WeakValueDictionary()
    notes: typing.ClassVar = weakref.WeakKeyDictionary()

    def __init__(self):
        self.living["one"] = self
        self.notes[self] = "noted"


class Outer:
    class Inner(SameType):
        pass


class Recursive(SameType):
    pass


Recursive.me = Recursive


def local():
    class Local(SameType):
        @functools.cached_property
        def v(self):
            return 9

    return Local()


@functools.singledispatch
def kind(x):
    return "any"


@kind.register
def _(x: int):
    return "int"


@kind.register
def _(x: Shot):
    return "shot"


@kind.register(list)
def _(x):
    return [kind(item) for item in x]


@functools.lru_cache(maxsize=7, typed=True)
def fibonacci(n):
    return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)


fibonacci(20)


@functools.cache
def doubled(x):
    return x * 2


def annotated(x: ShotId, y: Field[T, P], z: Fields[*Ts] = None) -> list[ShotId]:
    return [x]


def echo(x):
    return x


registered = Registered()
VALUES = {
    "namedtuple": Shot(1, 2.5),
    "derived namedtuple": LaterShot(1),
    "generic namedtuple": Pair(3),
    "old namedtuple": Old(1, 2),
    "typed dict": Options(b="x"),
    "protocol": Runner(),
    "abstract": Scale(),
    "generic": Field(),
    "generic of many": Fields(),
    "alias": Field[int, [str]],
    "metaclass": Counted(),
    "int enum": Level.ALSO_LOW,
    "flags": Flags.A | Flags.B,
    "str enum": Name.X,
    "enum with init": Medium.BONE,
    "slots": Slots(),
    "one slot": OneSlot(),
    "frozen": Frozen(1, [2]),
    "derived dataclass": Wet(1),
    "descriptor": UsesNamed(),
    "plugin": OnePlugin(),
    "cached property": Grid(),
    "wrappers": Wrapped(),
    "partial": Partial(),
    "singledispatchmethod": Dispatching(),
    "lru_cache": Cached(),
    "inner": Outer.Inner(),
    "recursive": Recursive(),
    "local": local(),
    "classes": [Shot, Pair, Options, Runs, Operator, Field, Meta, Level, Flags, Dispatching],
    "type variables": (T, P, Ts, ShotId),
}
CALLS = [
    ([kind, [1, "a", [Shot(1)]]], ["int", "any", ["shot"]]),
    ([fibonacci, 10], 55),
    ([lambda: tuple(fibonacci.cache_info())], (0, 0, 7, 0)),
    ([doubled, 3], 6),
    ([lambda x: x.seen(), Cached()], (2, 3, ("Cached", 1))),
    ([annotated, 3, 4], [3]),
    ([lambda: typing.get_type_hints(annotated)["x"] is ShotId], True),
    ([lambda: (list(Level), Flags.BOTH is Flags.A | Flags.B)], ([Level.LOW], True)),
    ([lambda: (Medium.WATER.impedance, Medium((3000, 1900)))], (1500000, Medium.BONE)),
    ([lambda x: isinstance(x, Runs), Runner()], True),
    ([lambda: (sorted(Options.__required_keys__), Options.__total__)], (["b"], False)),
    ([lambda: (Shot._fields, Shot(1)._replace(index=2))], (("index", "energy"), Shot(2))),
    ([lambda x: (x.living["one"] is x, x.notes[x]), registered], (True, "noted")),
]

if sys.version_info >= (3, 12):
    exec(
        """
class Box[V]:
    def __init__(self, x: V):
        self.x = x

    def get[D](self, default: D) -> V | D:
        return self.x

    def __eq__(self, other):
        return self.x == other.x

class Bound[N: int, *Us, **Q](SameType): ...

class Node[M: Node](SameType): ...

type Tree[V] = V | list[Tree[V]]
type Json = dict[str, Json] | int
type Same[A] = tuple[A, A]

def parse[V: Node](x: Json, y: Same[int], z: Tree[V]) -> Json:
    return x

@dataclasses.dataclass(slots=True)
class Sized[V]:
    v: V

class Row[V](typing.NamedTuple):
    v: V
"""
    )
    VALUES |= {
        "new generic": Box(3),  # noqa: F821
        "new bounds": Bound(),  # noqa: F821
        "new bound to itself": Node(),  # noqa: F821
        "new aliases": [Json, Same, Same[int], Tree],  # noqa: F821
        "new dataclass": Sized(4),  # noqa: F821
        "new namedtuple": Row(4),  # noqa: F821
    }
    CALLS += [
        ([lambda x: x.get(1), Box(2)], 2),  # noqa: F821
        ([parse, 1, 2, 3], 1),  # noqa: F821
        ([lambda: Node.__type_params__[0].__bound__ is Node], True),  # noqa: F821
        ([lambda: Tree.__value__.__args__[0] is Tree.__type_params__[0]], True),  # noqa: F821
        ([lambda: str(Json.__value__)], "dict[str, Json] | int"),  # noqa: F821
    ]


@mosaic.tessera
class Station:
    @functools.lru_cache(maxsize=2)  # noqa: B019
    def next(self, shot):
        return Shot(shot.index + 1, shot.twice())

    @functools.cached_property
    def spacing(self):
        return 0.25

    @functools.singledispatchmethod
    def kind(self, x):
        return "any"

    @kind.register
    def _(self, x: int):
        return "int"


async def differs(runtime, value):
    stored = await runtime.put(value)
    backs = [
        await runtime.submit(echo, value).result(),
        await runtime.submit(echo, stored).result(),
        (await runtime.submit(lambda x: x, [value]).result())[0],
    ]
    for back in backs:
        if type(back) is not type(value) or back != value:
            return back
        if isinstance(value, enum.Enum) and back is not value:
            return back
    return None


async def main(runtime):
    async with asyncio.timeout(30):
        for name, value in VALUES.items():
            try:
                back = await differs(runtime, value)
            except Exception as error:
                back = error
            if back is not None:
                print(f"{name}: {back!r}")
        for (function, *args), expected in CALLS:
            try:
                result = await runtime.submit(function, *args).result()
            except Exception as error:
                result = error
            if result != expected:
                print(f"{function}: {result!r}")
        station = Station.remote()
        print(await station.next(Shot(1)).result(), await station.spacing, Plugin.known)
        print(await station.kind(1).result(), await runtime.map(kind, [1, ""]))


if __name__ == "__main__":
    mosaic.run(main, num_workers=2)
