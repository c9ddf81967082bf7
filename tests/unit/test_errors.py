"""The errors: their bases, and that they pickle."""

import pickle

import pytest

from mosaic import errors

BASES = {
    "AuthenticationError": PermissionError,
    "BackpressureError": RuntimeError,
    "MemoryOverflowError": MemoryError,
    "ObjectLostError": LookupError,
    "RemoteError": RuntimeError,
    "RuntimeDisconnectedError": ConnectionError,
    "SerialisationError": TypeError,
    "TesseraStoppedError": RuntimeError,
    "TooFewWorkersError": TimeoutError,
}


@pytest.mark.parametrize("name", sorted(BASES))
def test_each_is_also_the_built_in_that_users_catch(name):
    cls = getattr(errors, name)
    assert issubclass(cls, errors.MosaicError)
    assert issubclass(cls, BASES[name])


@pytest.mark.parametrize("name", errors.__all__)
def test_each_pickles(name):
    error = getattr(errors, name)("what happened")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert str(again) == str(error) == "what happened"


def test_errors_that_programs_catch_as_runtime_errors():
    from mosaic.core.array import NoElementError

    for cls, other in (
        (errors.TooFewWorkersError, TimeoutError),
        (NoElementError, ConnectionError),
    ):
        assert issubclass(cls, RuntimeError)
        assert issubclass(cls, other)
        error = pickle.loads(pickle.dumps(cls("what happened")))
        assert (type(error), str(error)) == (cls, "what happened")


def test_a_remote_error_shows_the_type():
    error = pickle.loads(pickle.dumps(errors.RemoteError("bad", "lib.Strange", "the traceback")))
    assert str(error) == "lib.Strange: bad"
    assert error.traceback == "the traceback"
