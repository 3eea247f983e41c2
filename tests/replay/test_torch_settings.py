"""Settings of torch are put back, also after an error; faster products stay float32."""

from __future__ import annotations

from contextlib import suppress

import torch

from townlet_replay.training import torch_settings
from townlet_replay.training.torch_settings import fast_products, keep_freed_memory, torch_threads


def test_threads_are_put_back():
    before = torch.get_num_threads()
    with suppress(KeyError), torch_threads(before + 1):
        assert torch.get_num_threads() == before + 1
        raise KeyError
    assert torch.get_num_threads() == before


def test_fast_products_are_float32_and_put_back():
    before = torch.get_float32_matmul_precision()
    generator = torch.Generator().manual_seed(0)
    left, right = (torch.randn(300, 300, generator=generator) for _ in range(2))
    with suppress(KeyError), fast_products():
        error = ((left @ right).double() - left.double() @ right.double()).abs().max()
        assert error < 1e-4
        raise KeyError
    assert torch.get_float32_matmul_precision() == before


def test_products_that_round_to_bfloat16_are_not_taken(monkeypatch):
    """As on a processor with matrix units."""
    whole = torch.Tensor.__matmul__

    def rounded(left, right):
        if left.dtype == torch.float32:
            return whole(left.bfloat16(), right.bfloat16()).float()
        return whole(left, right)

    assert torch_settings._products_are_float32()
    monkeypatch.setattr(torch.Tensor, "__matmul__", rounded)
    assert not torch_settings._products_are_float32()
    with fast_products():
        assert torch.get_float32_matmul_precision() == "highest"


def test_memory_is_kept_where_glibc_allocates(monkeypatch):
    assert keep_freed_memory() == (torch_settings.platform.libc_ver()[0] == "glibc")
    monkeypatch.setattr(torch_settings.platform, "libc_ver", lambda: ("", ""))
    assert not keep_freed_memory()
