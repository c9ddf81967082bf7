"""`Struct`: a mapping whose members are attributes."""

import collections
import copy
import json
import pickle

import numpy as np
import pytest

from mosaic.types import Struct


@pytest.fixture
def struct():
    return Struct({"a": 1, "space": {"shape": (3, 4)}, "shots": [{"id": 7}, {"id": 8}]})


def test_members_are_items_and_attributes(struct):
    assert struct.a == struct["a"] == 1
    struct.b = 2
    struct["c"] = 3
    assert (struct["b"], struct.c) == (2, 3)
    del struct.b
    del struct["c"]
    assert list(struct) == ["a", "space", "shots"]


def test_nested_mappings_are_converted(struct):
    assert struct.space.shape == (3, 4)
    assert [shot.id for shot in struct.shots] == [7, 8]
    struct.time = {"num": 5}
    struct["pairs"] = ({"x": 1}, 2)
    struct.update(grid=collections.OrderedDict(n=1))
    assert (struct.time.num, struct.pairs[0].x, struct.grid.n) == (5, 1, 1)
    assert type(struct.pairs) is tuple


def test_what_holds_no_mapping_stays_the_same_object():
    values, inner = [1, [2]], Struct()
    struct = Struct({"values": values, "inner": inner})
    assert struct["values"] is values
    assert struct.inner is inner


def test_the_order_is_that_of_insertion():
    struct = Struct([("z", 1), ("a", 2)])
    struct.m = 3
    struct.z = 4
    assert list(struct.keys()) == ["z", "a", "m"]
    assert list(struct.items()) == [("z", 4), ("a", 2), ("m", 3)]
    assert list(struct.values()) == [4, 2, 3]


def test_it_is_a_mapping_like_any_other(struct):
    assert len(struct) == 3
    assert "a" in struct
    assert "b" not in struct
    assert struct == {"a": 1, "space": {"shape": (3, 4)}, "shots": [{"id": 7}, {"id": 8}]}
    assert struct != {}
    assert dict(**struct)["a"] == 1
    assert (struct | {"d": {"e": 1}}).d.e == 1
    assert ({"d": 1} | struct).d == 1
    assert json.loads(json.dumps(struct))["shots"][1] == {"id": 8}
    assert struct.get("a") == 1
    assert struct.get("b") is None
    assert struct.get("b", 5) == 5
    assert struct.setdefault("b", {"c": 1}).c == 1
    assert isinstance(struct, dict)
    assert not Struct()


UNKNOWN = {
    "attribute": lambda s: s.nothing,
    "item": lambda s: s["nothing"],
    "pop": lambda s: s.pop("nothing"),
    "delete": lambda s: s.delete("nothing"),
    "del attribute": lambda s: delattr(s, "nothing"),
    "del item": lambda s: s.__delitem__("nothing"),
}


@pytest.mark.parametrize("kind", [AttributeError, KeyError], ids=str)
def test_unknown_members_are_named(struct, kind):
    for ask in UNKNOWN.values():
        with pytest.raises(kind, match="no member 'nothing'; it has 'a', 'space', 'shots'"):
            ask(struct)
    assert not hasattr(struct, "nothing")


def test_the_error_of_an_unknown_member_travels(struct):
    with pytest.raises(AttributeError) as caught:
        struct.nothing  # noqa: B018 - it raises
    again = pickle.loads(pickle.dumps(caught.value))
    assert type(again) is type(caught.value)
    assert "'nothing'" in str(again)


def test_pop_and_delete(struct):
    assert struct.pop("a") == 1
    assert struct.pop("a", None) is None
    struct.delete("space")
    assert struct.popitem()[0] == "shots"
    with pytest.raises(KeyError, match="empty"):
        struct.popitem()


def test_update_takes_what_dict_takes():
    struct = Struct({"a": 1})
    struct.update({"a": 2, "b": {"c": 3}})
    struct.update(Struct({"d": 4}), e=5)
    struct.update([("f", 6)])
    struct |= {"g": {"h": 7}}
    assert struct == {"a": 2, "b": {"c": 3}, "d": 4, "e": 5, "f": 6, "g": {"h": 7}}
    assert (struct.b.c, struct.g.h) == (3, 7)


CHANGES = {
    "attribute": lambda s: setattr(s, "a", 2),
    "item": lambda s: s.__setitem__("a", 2),
    "update": lambda s: s.update(a=2),
    "|=": lambda s: s.__ior__({"a": 2}),
    "del attribute": lambda s: delattr(s, "a"),
    "delete": lambda s: s.delete("a"),
    "pop": lambda s: s.pop("a"),
    "popitem": lambda s: s.popitem(),
    "clear": lambda s: s.clear(),
    "in a nested one": lambda s: setattr(s.space, "shape", 2),
    "in a list": lambda s: setattr(s.shots[0], "id", 2),
    "in a copy": lambda s: setattr(s.copy(), "a", 2),
    "in a deep copy": lambda s: setattr(copy.deepcopy(s).space, "shape", 2),
    "in a pickled one": lambda s: setattr(pickle.loads(pickle.dumps(s)), "a", 2),
    "in a union": lambda s: setattr(s | {}, "a", 2),
}


def test_immutable_ones_refuse_to_be_changed():
    content = {"space": {"shape": (3, 4)}, "shots": [{"id": 7}], "a": 1}
    fixed = Struct(content, mutable=False)
    for name, change in CHANGES.items():
        with pytest.raises(AttributeError, match=r"not mutable: its member '\w+'"):
            change(fixed)
        assert fixed == content, name


def test_immutable_ones_can_be_filled_once():
    fixed = Struct(mutable=False)
    fixed.a = 1
    with pytest.raises(AttributeError, match="set again"):
        fixed.a = 1


def test_copies(struct):
    shallow, deep = copy.copy(struct), copy.deepcopy(struct)
    assert shallow == deep == struct.copy() == struct
    assert shallow.space is struct.space
    assert deep.space is not struct.space
    assert type(deep.shots[0]) is Struct
    shallow.a = 5
    assert struct.a == 1


def test_it_pickles_with_its_aliases(struct):
    struct.again = struct.space
    struct.itself = struct
    back = pickle.loads(pickle.dumps(struct))
    assert back.again is back.space
    assert back.itself is back
    assert type(back.shots[1]) is Struct


def test_a_name_that_is_a_method():
    struct = Struct({"items": 1})
    assert struct["items"] == 1
    with pytest.raises(AttributeError, match=r"'keys' is a method of Struct: use struct\['keys'\]"):
        struct.keys = 3


def test_members_are_listed_for_completion(struct):
    struct["not a name"] = 1
    assert {"a", "space", "items"} <= set(dir(struct))
    assert "not a name" not in dir(struct)


def test_shown_to_people():
    struct = Struct(
        {"data": np.zeros((3, 4)), "name": "x" * 200, "none": {}, "all": [{"id": 7, "at": (1, 2)}]}
    )
    lines = str(struct).splitlines()
    assert lines[0] == "data: ndarray of float64, shape (3, 4)"
    assert len(lines[1]) < 100
    assert lines[2:] == ["none: (empty)", "all: [1]", "    - id: 7", "      at: (1, 2)"]
    assert repr(Struct({"a": 1}, mutable=False)) == "Struct({'a': 1}, mutable=False)"


def test_ten_thousand_members_cost_no_more_each_than_ten():
    class Counted(str):
        compared = 0
        __slots__ = ()

        def __eq__(self, other):
            Counted.compared += 1
            return str.__eq__(self, other)

        __hash__ = str.__hash__

    struct = Struct({Counted(f"m{index}"): {"v": index} for index in range(10_000)})
    Counted.compared = 0
    assert sum(struct[f"m{index}"].v for index in range(10_000)) == sum(range(10_000))
    # A look-up that searched would compare with thousands.
    assert Counted.compared < 20_000
    with pytest.raises(KeyError, match="and 9990 more"):
        struct.pop("nothing")


def test_a_subclass_keeps_its_class():
    class Described(Struct):
        def double(self):
            return 2 * self.a

    described = Described({"a": 2})
    assert described.double() == 4
    assert type(described.copy()) is type(described | {"b": 1}) is Described
