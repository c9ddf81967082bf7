"""Translates errors of lost calls into the loss of what the program asked for."""

from __future__ import annotations

from contextlib import contextmanager

from mosaic.errors import ConnectionLostError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@contextmanager
def losses_as(
    lost: Callable[[BaseException], BaseException], *kinds: type[BaseException]
) -> Iterator[None]:
    """Raise another error in place of one by which the block reports that its object is gone.

    `ConnectionLostError` passes as it is: the other end lives, and only what was in flight is lost.

    Parameters
    ----------
    lost : callable
        Returns the error to raise for that one.
    *kinds : type
        The classes of errors that report it.
    """
    try:
        yield
    except ConnectionLostError:
        raise
    except kinds as error:
        raise lost(error) from error
