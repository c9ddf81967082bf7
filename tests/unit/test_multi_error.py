"""`MultiError` collects exceptions and shows them all."""

import pickle

import pytest

from mosaic import MosaicError
from mosaic.utils import MultiError


def fail_with(error):
    raise error


def caught(error):
    try:
        fail_with(error)
    except type(error) as raised:
        return raised


def test_it_collects_and_is_raised():
    errors = MultiError()
    errors.raise_if_any()
    assert not errors
    errors.add(caught(ValueError("one")))
    errors.append(caught(KeyError("two")))
    assert errors
    assert len(errors) == 2
    assert [type(one) for one in errors] == [ValueError, KeyError]
    assert errors.exceptions[0].args == ("one",)
    with pytest.raises(MultiError) as raised:
        errors.raise_if_any()
    assert raised.value is errors
    assert isinstance(errors, MosaicError)


def test_its_text_shows_all_tracebacks():
    text = str(MultiError(caught(ValueError("one")), caught(ZeroDivisionError("two"))))
    assert text.startswith("ZeroDivisionError: two\n")
    assert text.index("--- 2 of 2 ---") < text.index("--- 1 of 2 ---")
    assert "ValueError: one" in text
    assert "ZeroDivisionError: two" in text
    assert text.count("in fail_with") == 2


def test_causes_are_shown_too():
    def fail():
        try:
            fail_with(OSError("beneath"))
        except OSError as error:
            raise ValueError("above") from error

    try:
        fail()
    except ValueError as error:
        text = str(MultiError(error))
    assert "OSError: beneath" in text
    assert "ValueError: above" in text


def test_ways_to_make_one():
    one, two = ValueError(1), ValueError(2)
    for errors in (
        MultiError(one, two),
        MultiError([one, two]),
        MultiError(MultiError(one), [two]),
    ):
        assert errors.exceptions == [one, two]
    errors = MultiError()
    errors.extend([one])
    errors.add(MultiError(two))
    assert errors.exceptions == [one, two]


def test_as_it_was_in_mosaic_1_2():
    first = caught(ValueError("one"))
    error = MultiError(first)
    assert error.args == (first,)
    ((cls, value, text),) = error.errors
    assert (cls, value) == (ValueError, first)
    assert text.endswith("ValueError: one")
    assert "in fail_with" in text
    error.add(KeyError("two"))
    assert error.args == (first,)
    assert [cls for cls, _, _ in error.errors] == [ValueError, KeyError]
    assert str(error).startswith("KeyError: 'two'")
    again = pickle.loads(pickle.dumps(error))
    assert [cls for cls, _, _ in again.errors] == [ValueError, KeyError]
    assert "in fail_with" in again.errors[0][2]
    assert str(again.args[0]) == "one"


def test_it_takes_what_is_no_exception():
    error = MultiError("no answer")
    assert error.errors == [(str, "no answer", "no answer")]
    assert error.args == ("no answer",)
    assert str(error).startswith("no answer")
    error.add(5)
    assert error.errors[1] == (int, 5, "5")
    assert pickle.loads(pickle.dumps(error)).errors == error.errors
    assert [str(one) for one in error.group().exceptions] == ["no answer", "5"]


def test_as_a_group_for_new_programs():
    matched = []
    try:
        raise MultiError(ValueError(1), KeyError(2)).group("all of it")
    except* ValueError as group:
        matched += group.exceptions
    except* KeyError as group:
        matched += group.exceptions
    assert [one.args for one in matched] == [(1,), (2,)]


def test_tracebacks_are_shown_after_it_travelled():
    errors = MultiError(caught(ValueError("one")), KeyError("two"))
    again = pickle.loads(pickle.dumps(errors))
    assert [type(one) for one in again] == [ValueError, KeyError]
    assert "in fail_with" in str(again)
    merged = MultiError(again, caught(OSError("three")))
    assert str(merged).count("in fail_with") == 2


def test_one_is_not_added_to_itself():
    errors = MultiError(KeyError("one"))
    with pytest.raises(ValueError, match="itself"):
        errors.add(errors)
    with pytest.raises(ValueError, match="itself"):
        errors.extend([errors])
    assert len(errors) == 1
