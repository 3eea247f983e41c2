"""Settings of torch that belong to the whole process: set for a while, and put back."""

from __future__ import annotations

import ctypes
import platform
from collections.abc import Iterator
from contextlib import contextmanager

import torch

# Parameters of mallopt(3), and values for them.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_ALL, _BIG_BLOCK = 2**31 - 1, 2**30


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Let torch use ``count`` threads per operation meanwhile."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def fast_products() -> Iterator[None]:
    """Let float32 matrix products go through oneDNN meanwhile, where they stay float32.

    Torch's default library is slow on some processors. On others, those with matrix units, this
    setting would round factors to bfloat16; there nothing is changed.
    """
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    if not _products_are_float32():
        torch.set_float32_matmul_precision(before)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def _products_are_float32() -> bool:
    """Say whether products round like float32: thirds times themselves, in both precisions."""
    thirds = torch.arange(1.0, 4097.0).reshape(64, 64) / 3.0
    exact = thirds.double() @ thirds.double()
    return bool(torch.allclose((thirds @ thirds).double(), exact, rtol=1e-5))


def keep_freed_memory() -> bool:
    """Let big blocks that were freed stay with the process from now on, where glibc allocates.

    Buffers of convolutions are megabytes; by default every one of them goes back to the kernel and
    is fetched, and cleared, anew. It cannot be taken back: the process keeps the most it needed.

    Returns:
        Whether the allocator could be told.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return bool(mallopt(_MMAP_THRESHOLD, _BIG_BLOCK)) and bool(mallopt(_TRIM_THRESHOLD, _ALL))
