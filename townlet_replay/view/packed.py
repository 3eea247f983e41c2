"""Facts for a page: a JSON document, and beside it the arrays in it as bytes.

An array in the document is ``{"$": [dtype, offset, elements, width]}`` and its elements stand at
that offset of the bytes; ``width`` is the length of a row of a two-dimensional array, or 0. So ten
thousand ticks need no JSON, and a page reads them without copying.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

KEY = "$"
ALIGNED = 8  # bytes; typed arrays begin at multiples of their size
DTYPES = ("i1", "u1", "i2", "u2", "i4", "u4", "f4", "f8")
_LEVEL = 6  # of deflate


def packed(facts: Mapping[str, Any]) -> tuple[str, str]:
    """Return the JSON document, and the deflated bytes of its arrays in base64.

    Args:
        facts: What JSON can hold, and arrays of one or two dimensions.

    Raises:
        ValueError: An array is of a dtype that pages do not know, or a number is not finite.
    """
    pieces: list[bytes] = []
    document = _without_arrays(facts, pieces)
    squeezed = zlib.compress(b"".join(pieces), _LEVEL)
    return as_json(document), base64.b64encode(squeezed).decode("ascii")


def as_json(document: Any) -> str:
    """Return JSON that can stand inside an HTML element: no character of it can end one."""
    text = json.dumps(document, separators=(",", ":"), allow_nan=False, ensure_ascii=True)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _without_arrays(value: Any, pieces: list[bytes]) -> Any:
    if isinstance(value, np.ndarray):
        return {KEY: _put(value, pieces)}
    if isinstance(value, Mapping):
        return {str(key): _without_arrays(inner, pieces) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_without_arrays(inner, pieces) for inner in value]
    return value


def _put(array: NDArray[Any], pieces: list[bytes]) -> list[Any]:
    dtype = array.dtype.newbyteorder("<")
    name = dtype.str[1:]
    if name not in DTYPES or array.ndim not in (1, 2):
        raise ValueError(f"expected an array of {', '.join(DTYPES)}, found {array.dtype}")
    offset = sum(map(len, pieces))
    data = np.ascontiguousarray(array, dtype).tobytes()
    pieces.append(data + bytes(-len(data) % ALIGNED))
    return [name, offset, array.size, array.shape[1] if array.ndim == 2 else 0]
