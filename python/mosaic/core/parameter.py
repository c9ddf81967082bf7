"""Parameters: local objects tied to a root elsewhere. Not available yet; the names are."""

from __future__ import annotations

from mosaic.core.base import CMDBase
from mosaic.errors import MosaicError


class ParameterMixin(CMDBase):
    """What instances made by ``Klass.parameter()`` are, besides being a ``Klass``."""

    __slots__ = ()


def not_available() -> MosaicError:
    """Return the error that everything about parameters raises for now."""
    return MosaicError("parameters are not available yet")
