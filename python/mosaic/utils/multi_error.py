"""`MultiError`: several exceptions, collected and raised as one."""

from __future__ import annotations

from mosaic.errors import MosaicError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any


class MultiError(MosaicError):
    """Exceptions that are collected one by one and raised together; its text shows them all with their tracebacks.

    In new programs `ExceptionGroup` does this, and ``except*`` picks from it: `MultiError.group` gives one.

    Parameters
    ----------
    *exceptions : BaseException, or iterables of them
        Those to begin with.

    Examples
    --------
    >>> errors = MultiError()
    >>> for text in ("x", "y"):
    ...     try:
    ...         raise ValueError(text)
    ...     except ValueError as error:
    ...         errors.add(error)
    >>> len(errors), bool(errors)
    (2, True)
    >>> errors.raise_if_any()
    Traceback (most recent call last):
    ...
    mosaic.utils.multi_error.MultiError: 2 errors
    ...
    """

    def __init__(self, *exceptions: BaseException | Iterable[BaseException]) -> None:
        super().__init__()
        self.exceptions: list[BaseException] = []
        # How those looked that have come from another process, where their tracebacks stayed.
        self._texts: dict[int, str] = {}
        for one in exceptions:
            self.extend([one] if isinstance(one, BaseException) else one)

    def add(self, exception: BaseException) -> None:
        """Add one; those of another `MultiError` are added one by one.

        Raises
        ------
        TypeError
            It is no exception.
        ValueError
            It is this one.
        """
        if exception is self:
            raise ValueError("a MultiError cannot be added to itself")
        if isinstance(exception, MultiError):
            self._texts.update(exception._texts)
            self.exceptions += exception.exceptions
        elif isinstance(exception, BaseException):
            self.exceptions.append(exception)
        else:
            raise TypeError(f"a MultiError collects exceptions, not {exception!r}")

    append = add

    def extend(self, exceptions: Iterable[BaseException]) -> None:
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
        return BaseExceptionGroup(message, self.exceptions)

    def __len__(self) -> int:
        return len(self.exceptions)

    def __bool__(self) -> bool:
        return bool(self.exceptions)

    def __iter__(self) -> Iterator[BaseException]:
        return iter(self.exceptions)

    def __str__(self) -> str:
        count = len(self.exceptions)
        lines = ["1 error" if count == 1 else f"{count} errors"]
        for number, one in enumerate(self.exceptions, 1):
            lines.append(f"--- {number} of {count} ---")
            lines.append(self._text_of(one))
        return "\n".join(lines)

    def _text_of(self, error: BaseException) -> str:
        if error.__traceback__ is None and id(error) in self._texts:
            return self._texts[id(error)]
        import traceback

        return "".join(traceback.format_exception(error)).rstrip()

    def __reduce__(self) -> tuple[Any, ...]:
        texts = [self._text_of(one) for one in self.exceptions]
        return _rebuilt, (type(self), self.exceptions, texts)


def _rebuilt(
    cls: type[MultiError], exceptions: list[BaseException], texts: list[str]
) -> MultiError:
    made = cls(exceptions)
    made._texts = {id(one): text for one, text in zip(exceptions, texts, strict=True)}
    return made
