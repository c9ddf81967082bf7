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
    struct.update(pairs=({"x": 1}, 2), grid=collections.OrderedDict(n=1))
    assert (struct.pairs[0].x, struct.grid.n) == (1, 1)
    assert type(struct.pairs) is tuple


def test_what_is_assigned_stays_the_same_object():
    struct, content, items = Struct(), {"num": 5}, [{"x": 1}]
    struct.time = struct["again"] = content
    struct.items_of = items
    content["step"] = 0.5
    assert struct.time is struct["again"] is content
    assert (struct.time["step"], struct.items_of is items, type(items[0])) == (0.5, True, dict)


def test_lists_of_the_content_are_copied_and_the_rest_stays_the_same_object():
    values, inner, pair = [1, [2]], Struct(), (1, 2)
    struct = Struct({"values": values, "inner": inner, "pair": pair})
    values.append(3)
    values[1].append(4)
    assert struct["values"] == [1, [2]]
    assert struct.inner is inner
    assert struct.pair is pair


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
    assert struct.setdefault("b", 6) == struct.b == 6
    assert isinstance(struct, dict)


def test_an_empty_one_is_true():
    assert Struct()
    assert (Struct({"inner": {}}).inner or "default") == {}


def test_it_is_a_key_by_its_identity():
    one, two = Struct({"a": 1}), Struct({"a": 1})
    known = {one: "one", two: "two"}
    one.b = 2
    assert (known[one], known[two], len({one, two, one})) == ("one", "two", 2)


UNKNOWN = {
    "attribute": lambda s: s.nothing,
    "item": lambda s: s["nothing"],
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
    assert struct.pop("a") is None
    assert struct.pop("a", 5) == 5
    struct.delete("space")
    assert struct.popitem()[0] == "shots"
    with pytest.raises(KeyError, match="empty"):
        struct.popitem()


def test_update_merges_into_nested_ones_and_into_lists_item_by_item():
    struct = Struct(
        {"space": {"shape": (3, 4), "more": {"a": 1, "b": 2}}, "shots": [{"id": 7, "x": 1}]}
    )
    space, shot, shots = struct.space, struct.shots[0], struct.shots
    struct.update({"space": {"dx": 0.5, "more": {"b": 3}}, "shots": [{"x": 2}, {"id": 8}]})
    assert struct.space is space
    assert space == {"shape": (3, 4), "more": {"a": 1, "b": 3}, "dx": 0.5}
    assert struct.shots is shots
    assert shots[0] is shot
    assert [dict(one) for one in shots] == [{"id": 7, "x": 2}, {"id": 8}]
    assert type(shots[1]) is Struct
    # Fewer items leave the others; what is no mapping takes the place of what was there.
    struct.update(space=5, shots=[{"x": 3}])
    assert struct.space == 5
    assert [dict(one) for one in shots] == [{"id": 7, "x": 3}, {"id": 8}]
    struct.update(shots=None, pair=({"a": 1}, 2))
    struct.update(pair=({"b": 2}, 3))
    assert struct == {"space": 5, "shots": None, "pair": ({"a": 1, "b": 2}, 3)}
    # A list without mappings is one value.
    struct.update(shape=[1, 2, 3])
    struct.update(shape=[4])
    assert struct.shape == [4]


def test_a_union_replaces_and_leaves_both_as_they_were():
    struct = Struct({"space": {"a": 1}})
    assert (struct | {"space": {"b": 2}}) == {"space": {"b": 2}}
    assert struct == {"space": {"a": 1}}
    struct |= {"space": {"b": 2}}
    assert struct.space.b == 2
    assert "a" not in struct.space


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
    "|=": lambda s: s.__ior__({"a": 2}),
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
    with pytest.raises(AttributeError, match="assigned again"):
        fixed.a = 1


def test_immutable_ones_are_updated_and_members_taken_out():
    fixed = Struct({"space": {"shape": 1}, "a": 1, "b": 2, "c": 3, "d": 4}, mutable=False)
    fixed.update({"space": {"shape": 2, "new": {"x": 1}}, "a": 5})
    assert (fixed.space.shape, fixed.a) == (2, 5)
    with pytest.raises(AttributeError, match="not mutable"):
        fixed.space.new.x = 3
    assert fixed.pop("b") == 2
    del fixed.c
    fixed.delete("d")
    assert list(fixed) == ["space", "a"]


def test_copies(struct):
    shallow, deep = copy.copy(struct), copy.deepcopy(struct)
    assert shallow == deep == struct
    assert shallow.space is struct.space
    assert deep.space is not struct.space
    assert type(deep.shots[0]) is Struct
    shallow.a = 5
    assert struct.a == 1


def test_its_own_copy_is_deep():
    struct = Struct(
        {"space": {"shape": [1]}, "shots": [{"id": 7}], "data": np.zeros(3)}, mutable=False
    )
    copied = struct.copy()
    copied.space["shape"].append(2)
    copied.shots[0].update(id=8)
    copied.data[0] = 1
    assert (struct.space["shape"], struct.shots[0].id, struct.data[0]) == ([1], 7, 0)
    assert type(copied.shots[0]) is Struct
    with pytest.raises(AttributeError, match="not mutable"):
        copied.data = 5


def test_it_pickles_with_its_aliases(struct):
    struct.again = struct.space
    struct.itself = struct
    back = pickle.loads(pickle.dumps(struct))
    assert back.again is back.space
    assert back.itself is back
    assert type(back.shots[1]) is Struct


def test_members_may_have_any_name():
    struct = Struct({"items": 1})
    struct.keys = 3
    struct.values = [4]
    assert (struct["items"], struct["keys"], struct["values"]) == (1, 3, [4])
    assert list(struct.items()) == [("items", 1), ("keys", 3), ("values", [4])]
    for name in ("clear", "setdefault", "popitem", "fromkeys"):
        assert callable(getattr(struct, name))
        setattr(struct, name, name)
        assert getattr(struct, name) == struct[name] == name
        delattr(struct, name)
        assert callable(getattr(struct, name))
    struct.clear()
    assert len(struct) == 0
    assert type(Struct.fromkeys("ab", 0)) is Struct


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
        struct.delete("nothing")


def test_a_subclass_keeps_its_class():
    class Described(Struct):
        def double(self):
            return 2 * self.a

    described = Described({"a": 2})
    assert described.double() == 4
    assert type(described.copy()) is type(described | {"b": 1}) is Described
