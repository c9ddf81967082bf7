"""`MultiError`: several exceptions, collected and raised as one."""

from __future__ import annotations

from collections.abc import Iterator

from mosaic.errors import MosaicError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any


class MultiError(MosaicError):
    """Exceptions that are collected one by one and raised together; its text shows them all, the last one first.

    In new programs `ExceptionGroup` does this, and ``except*`` picks from it: `MultiError.group` gives one.

    Parameters
    ----------
    *exceptions : BaseException, or iterables of them
        Those to begin with. Anything else is collected as it is, with its text. The first one is ``args``.

    Examples
    --------
    >>> errors = MultiError()
    >>> for text in ("x", "y"):
    ...     try:
    ...         raise ValueError(text)
    ...     except ValueError as error:
    ...         errors.add(error)
    >>> len(errors), bool(errors), errors.args
    (2, True, (ValueError('x'),))
    >>> errors.raise_if_any()
    Traceback (most recent call last):
    ...
    mosaic.compat.multi_error.MultiError: ValueError: y
    ...
    """

    def __init__(self, *exceptions: Any) -> None:
        super().__init__()
        self.exceptions: list[Any] = []
        # How those looked that have come from another process, where their tracebacks stayed.
        self._texts: dict[int, str] = {}
        for one in exceptions:
            if isinstance(one, (list, tuple, set, frozenset, Iterator)):
                self.extend(one)
            else:
                self.add(one)

    def add(self, exception: Any) -> None:
        """Add one; those of another `MultiError` are added one by one.

        Raises
        ------
        ValueError
            It is this one.
        """
        if exception is self:
            raise ValueError("a MultiError cannot be added to itself")
        if isinstance(exception, MultiError):
            self._texts.update(exception._texts)
            self.exceptions += exception.exceptions
        else:
            self.exceptions.append(exception)
        if not self.args:
            self.args = tuple(self.exceptions[:1])

    @property
    def errors(self) -> list[tuple[type, Any, str]]:
        """Of each its type, itself, and its text with the traceback."""
        return [(type(one), one, self._text_of(one)) for one in self.exceptions]

    append = add

    def extend(self, exceptions: Iterable[Any]) -> None:
        """Add several."""
        for one in exceptions:
            self.add(one)

    def raise_if_any(self) -> None:
        """Raise this, unless it is empty."""
        if self.exceptions:
            raise self

    def group(self, message: str = "several errors") -> BaseExceptionGroup[BaseException]:
        """Return the exceptions as an `ExceptionGroup`, for ``except*``.

        Raises
        ------
        ValueError
            There are none.
        """
        exceptions = [
            one if isinstance(one, BaseException) else MosaicError(self._text_of(one))
            for one in self.exceptions
        ]
        return BaseExceptionGroup(message, exceptions)

    def __len__(self) -> int:
        return len(self.exceptions)

    def __bool__(self) -> bool:
        return bool(self.exceptions)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.exceptions)

    def __str__(self) -> str:
        count = len(self.exceptions)
        if not count:
            return "no errors"
        lines = [_line_of(self.exceptions[-1])]
        for number in range(count, 0, -1):
            lines.append(f"--- {number} of {count} ---")
            lines.append(self._text_of(self.exceptions[number - 1]))
        return "\n".join(lines)

    def _text_of(self, error: Any) -> str:
        if not isinstance(error, BaseException):
            return _line_of(error)
        if error.__traceback__ is None and id(error) in self._texts:
            return self._texts[id(error)]
        import traceback

        return "".join(traceback.format_exception(error)).rstrip()

    def __reduce__(self) -> tuple[Any, ...]:
        texts = [self._text_of(one) for one in self.exceptions]
        return _rebuilt, (type(self), self.exceptions, texts)


def _line_of(error: Any) -> str:
    if not isinstance(error, BaseException):
        return str(error)
    import traceback

    return "".join(traceback.format_exception_only(error)).rstrip()


def _rebuilt(cls: type[MultiError], exceptions: list[Any], texts: list[str]) -> MultiError:
    made = cls()
    made.extend(exceptions)
    made._texts = {id(one): text for one, text in zip(exceptions, texts, strict=True)}
    return made
