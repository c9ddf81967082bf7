"""Reads the elements of a dataset, with the flags that say what they are."""

from __future__ import annotations

import numpy as np
from h5py import h5a, h5s

from mosaic.file_manipulation.encoding import BOOLEAN, TEXTS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def has_flag(item: Any, key: bytes) -> bool:
    """Return a flag of a low-level identifier, False where there is none."""
    if not h5a.exists(item, key):
        return False
    attribute = h5a.open(item, key)
    try:
        # The type is given, since h5py takes three times as long to make it.
        attribute.read(found := np.empty((), bool), mtype=BOOLEAN)
    except (OSError, TypeError):
        # A file of another program, which may have a number for it.
        found = np.empty(attribute.shape, attribute.dtype)
        attribute.read(found)
    return bool(found.any())


def raw_elements(item: Any) -> Any:
    """Return the elements of a dataset as h5py gives them: texts as bytes."""
    found = np.empty(item.shape, item.dtype)
    if found.size:
        item.read(h5s.ALL, h5s.ALL, found)
    return found


def decoded_elements(item: Any) -> Any:
    """Return the elements of a dataset, texts as objects of type `str`."""
    found = raw_elements(item)
    is_text = has_flag(item, b"is_str") or has_flag(item, TEXTS.encode())
    if found.dtype.kind != "O" and not (found.dtype.kind == "S" and is_text):
        return found
    if not is_text and has_flag(item, b"is_tuple"):
        # The older package wrote and reads tuples of texts so.
        return found
    texts: Any = np.empty(found.shape, object)
    texts.flat = [one.decode() if isinstance(one, bytes) else one for one in found.flat]
    return texts


def whole_array(item: Any) -> Any:
    """Return the array that a low-level identifier of a dataset stands for."""
    found = decoded_elements(item)
    return found.astype(str) if found.dtype.kind == "O" else found
