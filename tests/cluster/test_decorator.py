"""`@mosaic.tessera`: what it accepts, and what it leaves as it was. No runtime runs here."""

import abc
import copy
import dataclasses
import pickle
import pydoc

import pytest

import mosaic


@mosaic.tessera
class Plain:
    """Multiplies, for the sake of an example."""

    factor = 3

    def __init__(self, x=1):
        self.x = x

    def times(self, y):
        """Multiply by x."""
        return self.x * y

    def __eq__(self, other):
        return type(other) is type(self) and other.x == self.x

    __hash__ = None


class Base(abc.ABC):
    @abc.abstractmethod
    def answer(self): ...


@mosaic.tessera(max_retries=2)
class Derived(Base):
    def answer(self):
        return 42


class Sub(Plain):
    def times(self, y):
        return -super().times(y)


def test_the_same_class_comes_back():
    class Bare:
        pass

    class WithOptions:
        pass

    assert mosaic.tessera(Bare) is Bare
    assert mosaic.tessera(max_retries=2)(WithOptions) is WithOptions


@pytest.mark.parametrize(
    "options",
    [
        {"max_retries": 2},
        {"max_restarts": 1},
        {"is_async": True},
        {"cached": True},
        {"max_retries": 1, "max_restarts": 2, "is_async": False},
    ],
    ids=str,
)
def test_options_are_accepted(options):
    class Any:
        pass

    assert mosaic.tessera(**options)(Any) is Any


def test_names_and_documentation_stay():
    assert Plain.__name__ == Plain.__qualname__ == "Plain"
    assert Plain.__module__ == __name__
    assert Plain.__doc__ == "Multiplies, for the sake of an example."
    assert Plain.factor == 3
    assert Plain.times.__doc__ == "Multiply by x."
    assert "Multiply by x." in pydoc.render_doc(Plain)


def test_instances_are_ordinary_and_need_no_runtime():
    plain = Plain(2)
    assert isinstance(plain, Plain)
    assert type(plain) is Plain
    assert plain.times(4) == 8
    assert plain == Plain(2)
    assert plain != Plain(3)
    assert copy.deepcopy(plain) == plain
    assert pickle.loads(pickle.dumps(plain)) == plain


def test_class_pickles_by_reference():
    data = pickle.dumps(Plain)
    assert len(data) < 200
    assert pickle.loads(data) is Plain


def test_subclasses_and_abstract_bases():
    assert Derived().answer() == 42
    assert isinstance(Derived(), Base)
    assert issubclass(Sub, Plain)
    assert Sub(2).times(4) == -8
    assert callable(Sub.remote)


def test_decorated_twice_in_a_hierarchy():
    @mosaic.tessera
    class Child(Plain):
        pass

    assert Child.__mro__[1] is Plain
    assert isinstance(Child(2), Plain)
    assert Child(2).times(3) == 6


def test_dataclasses_and_slots():
    @mosaic.tessera
    @dataclasses.dataclass
    class Point:
        x: int
        y: int = 0

    @mosaic.tessera
    class Slotted:
        __slots__ = ("a",)

        def __init__(self, a):
            self.a = a

    assert Point(1) == Point(1, 0)
    assert [f.name for f in dataclasses.fields(Point)] == ["x", "y"]
    assert Slotted(5).a == 5


def a_function():
    return 1


@pytest.mark.parametrize("thing", [a_function, 3, "name", None, Plain(), len], ids=repr)
def test_what_is_not_a_class_is_refused(thing):
    with pytest.raises((TypeError, ValueError), match=r"(?i)tessera"):
        mosaic.tessera(thing)


def test_functions_are_refused_after_options_too():
    with pytest.raises((TypeError, ValueError), match=r"(?i)tessera"):
        mosaic.tessera(max_retries=2)(a_function)


def test_empty_brackets_are_refused():
    class Any:
        pass

    with pytest.raises((TypeError, ValueError), match=r"(?i)tessera"):
        mosaic.tessera()(Any)


def test_more_than_a_class_is_refused():
    class Any:
        pass

    with pytest.raises((TypeError, ValueError)):
        mosaic.tessera(Any, 2)


def test_unknown_options_are_refused_by_name():
    with pytest.raises((TypeError, ValueError), match="max_retry"):
        mosaic.tessera(max_retry=2)


def test_users_own_names_win_with_a_warning():
    with pytest.warns(Warning, match="remote"):

        @mosaic.tessera
        class HasRemote:
            def remote(self):
                return "mine"

    with pytest.warns(Warning, match="logger"):

        @mosaic.tessera
        class HasLogger:
            @property
            def logger(self):
                return "my logger"

    assert HasRemote().remote() == "mine"
    assert HasLogger().logger == "my logger"
    assert callable(HasLogger.remote)


def test_inherited_names_of_mosaic_are_no_clash(recwarn):
    @mosaic.tessera
    class Child(Plain):
        pass

    assert Child(1).times(1) == 1
    assert not list(recwarn)


def test_remote_without_a_runtime_says_so():
    with pytest.raises((RuntimeError, mosaic.MosaicError), match=r"(?i)runtime"):
        Plain.remote(1)
