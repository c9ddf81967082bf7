"""What goes into an HDF5 file comes out of it."""

import math
import pickle
import types

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mosaic import h5
from mosaic.types import Struct


def again(value, path, **options):
    h5.write(path / "file.h5", {"group": {"member": value}})
    with h5.HDF5(path / "file.h5") as file:
        return file.load(lazy=False, **options).group.member


VALUES = [
    *(3, -(2**63), True, False, 2.5, math.inf, 1 + 2j, None),
    *("", "héllo\n", "None", b"", b"a\0b\0", bytes(range(256))),
    *([], (), [[]]),
    *([1, 2, 3], (1.5, 2.0), [True, False], [1j, 2j], [[1, 2], [3, 4]], [(1, 2), (3, 4)]),
    *(["a", "bé", ""], ("a", "b"), [["a"], ["b"]], [b"a", b"bcd"]),
    *([None, None], ["a", 1, None, 2.5, True, 1j, -3], [["50", 406, None]], [2**70, 1]),
    *({}, {"a": {"b": {"c": 1}}}, [{}], [{"a": 1}, {"b": [{"c": 2}]}]),
]


def test_values_come_back_as_they_were(tmp_path):
    h5.write(tmp_path / "file.h5", {f"value {index}": one for index, one in enumerate(VALUES)})
    back = h5.read(tmp_path / "file.h5")
    for index, value in enumerate(VALUES):
        one = back[f"value {index}"]
        assert one == value
        assert kinds(one) == kinds(value)


def kinds(value):
    """Return the types in a value, those of dictionaries as `Struct`."""
    if isinstance(value, dict):
        return Struct, {name: kinds(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value), [kinds(one) for one in value]
    return type(value)


texts = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=5)
names = texts.filter(lambda name: name and "/" not in name and name != ".")
numbers = st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False)
leaves = st.none() | numbers | texts | st.binary(max_size=5)
lists = st.lists(numbers, max_size=3) | st.lists(texts | st.none() | st.floats(0, 1), max_size=3)
contents = st.recursive(
    leaves | lists | lists.map(tuple) | lists.map(lambda one: [tuple(one)] * 2),
    lambda inner: (
        st.dictionaries(names, inner, max_size=3)
        | st.lists(st.dictionaries(names, inner, max_size=2), min_size=1, max_size=2)
    ),
    max_leaves=8,
)


@settings(max_examples=30, deadline=None)
@given(content=st.dictionaries(names, contents, max_size=3))
def test_whatever_is_put_together_comes_back(content, tmp_path_factory):
    name = tmp_path_factory.getbasetemp() / "whatever.h5"
    h5.write(name, content)
    assert h5.read(name) == content
    with h5.HDF5(name) as file:
        lazily = file.load()
    assert lazily == content
    h5.append(name, content)
    assert h5.read(name) == content


@pytest.mark.parametrize(
    "value",
    [
        [2**53 + 1, 0.0],
        [2**63, -1],
        [[2**53 + 1], [0.5]],
        (2**60, 1e300, math.inf),
        [2**53 + 1, 1j],
    ],
)
def test_whole_numbers_beside_others_keep_their_digits(value, tmp_path):
    assert again(value, tmp_path) == value


def test_what_is_not_a_number_in_lists(tmp_path):
    first, second = again([math.nan, "a"], tmp_path)
    assert math.isnan(first)
    assert second == "a"
    assert math.isnan(again([math.nan], tmp_path)[0])


ARRAYS = [
    *(np.arange(6, dtype=code).reshape(2, 3) for code in "bBhHiIqQefdgFDG"),
    *(np.arange(3, dtype=">i4"), np.array([True, False])),
    *(np.zeros(0), np.zeros((0, 3), "f4")),
    *(np.array(["a", "bé"]), np.array([["a"], [""]]), np.array([b"x", b"yz"])),
    np.array(["2020-01-01", "NaT"], "M8[D]"),
    np.array([1, 2], "m8[us]"),
    np.array([(1, 2.5)], [("a", "i4"), ("b", "f8", 2)]),
    np.asfortranarray(np.arange(6).reshape(3, 2)),
    np.arange(20).reshape(4, 5)[::2, ::-1],
]


def test_arrays_come_back_as_they_were(tmp_path):
    h5.write(tmp_path / "file.h5", {f"array {index}": one for index, one in enumerate(ARRAYS)})
    back = h5.read(tmp_path / "file.h5")
    for index, array in enumerate(ARRAYS):
        one = back[f"array {index}"]
        assert type(one) is np.ndarray
        assert (one.dtype, one.shape) == (array.dtype, array.shape)
        assert one.tobytes() == np.asarray(array, order="C").tobytes()


def test_an_array_of_text_objects_is_one_of_texts(tmp_path):
    back = again(np.array(["a", "bcd"], dtype=object), tmp_path)
    assert back.dtype == np.dtype("<U3")
    assert back.tolist() == ["a", "bcd"]


def test_scalars_become_pythons(tmp_path):
    for scalar, kind in (
        *((np.float32(2.5), float), (np.float16(2.5), float), (np.int8(-3), int)),
        *((np.uint8(200), int), (np.uint64(2**63), int), (np.complex64(1j), complex)),
        *((np.int64(3), int), (np.float64(3), float), (np.bool_(True), bool), (np.str_("a"), str)),
    ):
        back = again(scalar, tmp_path)
        assert back == scalar
        assert type(back) is kind
    day = np.datetime64("2020-01-01")
    assert again(day, tmp_path) == day


def test_arrays_without_dimensions_become_numpys_scalars(tmp_path):
    arrays = [np.array(3.5, "f4"), np.array(200, "u1"), np.array("text"), np.array(b"bytes")]
    arrays += [np.array("2020-01-01", "M8[D]")]
    h5.write(tmp_path / "file.h5", {str(index): one for index, one in enumerate(arrays)})
    for lazy in (True, False):
        with h5.HDF5(tmp_path / "file.h5") as file:
            back = file.load(lazy=lazy)
            for index, array in enumerate(arrays):
                one = back[str(index)]
                assert isinstance(one, np.generic)
                assert one == array[()]
                assert one.dtype == array.dtype
                assert {one: 1}[array[()]] == 1


def test_rows_of_tuples_become_arrays(tmp_path):
    """Programs compute with them; where the outer one is a list they stay what they were."""
    for value in (((1, 2), (3, 4)), ([1.5], [2.5]), ((), ()), (((1, 2),), ((3, 4),))):
        back = again(value, tmp_path)
        assert type(back) is tuple
        assert all(type(row) is np.ndarray for row in back)
        np.testing.assert_array_equal(back, value)
    assert (again(((1, 2), (3, 4)), tmp_path)[0] * 2).tolist() == [2, 4]
    assert again([(1, 2)], tmp_path) == [(1, 2)]
    assert again((("a", "b"), ("c", "d")), tmp_path) == (("a", "b"), ("c", "d"))


def test_a_list_of_arrays_is_one_again(tmp_path):
    back = again([np.arange(3), np.ones(3)], tmp_path)
    assert type(back) is list
    np.testing.assert_array_equal(back, [[0, 1, 2], [1, 1, 1]])
    assert all(type(one) is np.ndarray for one in back)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (object(), "type object"),
        ({1, 2}, "type set"),
        (range(3), "type range"),
        (len, "numbers, texts, bytes"),
        (types.SimpleNamespace(a=1), "SimpleNamespace"),
        ([1, object()], "holds a value of type object"),
        ([[1], [1, 2]], "not of one length"),
        ([{}, 1], "dictionaries and other values together"),
        ([b"a", b"b\0"], "end with a zero"),
        ([b"a", 1], "holds a value of type bytes"),
        (2**70, "more than 64 bits"),
        ("a\0b", "zero character"),
        ("\ud800", "surrogates"),
        (np.array([object()]), "type object"),
        (np.array([("a",)], [("name", "U3")]), "ndarray"),
        (np.ma.masked_array([1, 2], [0, 1]), "masked"),
    ],
    ids=str,
)
def test_what_cannot_be_stored_is_named_and_leaves_the_file_alone(value, reason, tmp_path):
    h5.write(tmp_path / "file.h5", {"before": 1})
    for step in (h5.write, h5.append):
        with pytest.raises(TypeError, match=f"^/group/member: .*{reason}"):
            step(tmp_path / "file.h5", {"after": 2, "group": {"member": value}})
        assert h5.read(tmp_path / "file.h5") == {"before": 1}
    with pytest.raises(TypeError, match=r"^/all/all_00000001/x: "):
        h5.write(tmp_path / "file.h5", {"all": [{"x": 1}, {"x": value}]})


@pytest.mark.parametrize(
    ("name", "kind"), [(1, TypeError), ("/", ValueError), ("", ValueError), ("a/.", ValueError)]
)
def test_names_that_cannot_be(name, kind, tmp_path):
    with pytest.raises(kind, match=repr(name)):
        h5.write(tmp_path / "file.h5", {name: 1})


def test_a_file_holds_a_dictionary(tmp_path):
    with pytest.raises(TypeError, match="dictionary of values, not a list"):
        h5.write(tmp_path / "file.h5", [1])


def test_names_of_members_in_other_alphabets(tmp_path):
    h5.write(tmp_path / "file.h5", {"größe": 1, "λ": {"σ": [2]}})
    assert h5.read(tmp_path / "file.h5") == {"größe": 1, "λ": {"σ": [2]}}
    with h5py.File(tmp_path / "file.h5") as plain:
        assert set(plain) == {"größe", "λ"}


def test_arrays_of_one_file_go_into_another(tmp_path):
    h5.write(tmp_path / "one.h5", {"data": np.arange(5.0), "names": np.array(["a", "b"])})
    with h5.HDF5(tmp_path / "one.h5") as one:
        content = one.load()
        assert isinstance(content.data, h5py.Dataset)
        h5.write(tmp_path / "two.h5", content)
        by_value = pickle.loads(pickle.dumps(content))
    two = h5.read(tmp_path / "two.h5")
    for found in (two, by_value):
        np.testing.assert_array_equal(found.data, np.arange(5.0))
        assert found.names.tolist() == ["a", "b"]


def test_a_struct_is_stored_as_a_dictionary(tmp_path):
    content = Struct({"a": {"b": 1}, "list": [{"c": 2}]})
    h5.write(tmp_path / "file.h5", content)
    assert h5.read(tmp_path / "file.h5") == content
