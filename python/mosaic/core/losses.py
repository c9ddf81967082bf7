"""Errors by which a call says that what it asked for is gone, told as the loss of what the user knows."""

from __future__ import annotations

from contextlib import contextmanager

from mosaic.errors import ConnectionLostError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@contextmanager
def told(
    lost: Callable[[BaseException], BaseException], *kinds: type[BaseException]
) -> Iterator[None]:
    """Raise another error for one by which the block says that what it asks for is gone.

    The loss of a connection passes as it is: its other end lives, and only what was on its way is lost.

    Parameters
    ----------
    lost : callable
        Returns the error to raise for that one.
    *kinds : type
        The classes of errors that say so.
    """
    try:
        yield
    except ConnectionLostError:
        raise
    except kinds as error:
        raise lost(error) from error
