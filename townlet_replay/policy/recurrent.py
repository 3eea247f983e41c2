"""A core that remembers: an LSTM along each life, over rows without padding.

Rows of one life stand one after the other. A life begins with the state 0, wherever the feature
``context_reset`` says that it does; a part of a life begins with the state that is given for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

SEGMENT = "segment"  # key of the numbers (N,) that say which rows follow each other
STATE = "core_state"  # key of the states (N, 2 H) before rows; that of a part's first row is used
BEGINNING = "context_reset"  # the feature that is 1 on the first observation of a life


class Thread(NamedTuple):
    """Which rows follow which, and from what state; N rows of S parts of lives."""

    starts: Tensor  # (S,) int64, the first row of every part, ascending from 0
    state: Tensor  # (S, 2 H) before it


class LifeCore(nn.Module):
    """Long short-term memory (Hochreiter & Schmidhuber 1997) along parts of lives.

    Args:
        inputs: Units that come in.
        width: H, units that are remembered; the state is H units of output and H of the cell.
    """

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.width = width
        self.lstm = nn.LSTM(inputs, width)

    def forward(self, encoded: Tensor, thread: Thread) -> tuple[Tensor, Tensor]:
        """Go along every part.

        Args:
            encoded: ``(N, inputs)``.
            thread: What follows what.

        Returns:
            Outputs ``(N, H)``, and the states ``(S, 2 H)`` after the last row of every part.
        """
        rows, count = len(encoded), len(thread.starts)
        ends = torch.cat([thread.starts[1:], thread.starts.new_tensor([rows])])
        lengths = ends - thread.starts
        order = torch.argsort(lengths, descending=True, stable=True)
        rank = torch.empty_like(order)
        rank[order] = torch.arange(count, device=order.device)
        part = torch.repeat_interleave(torch.arange(count, device=order.device), lengths)
        tick = torch.arange(rows, device=order.device) - thread.starts[part]
        sizes = torch.bincount(tick)  # parts that are that long
        place = (torch.cumsum(sizes, 0) - sizes)[tick] + rank[part]
        packed = PackedSequence(encoded[torch.argsort(place)], sizes.cpu())
        before = thread.state[order]
        hidden, cell = before[None, :, : self.width], before[None, :, self.width :]
        out, (hidden, cell) = self.lstm(packed, (hidden.contiguous(), cell.contiguous()))
        after = torch.cat([hidden[0], cell[0]], dim=1)[rank]
        return out.data[place], after

    def thread_of(self, observations: Mapping[str, Tensor], begins: Tensor) -> Thread:
        """Read off observations what follows what.

        Args:
            observations: With ``SEGMENT``, or every row is a part of its own; with ``STATE``, or
                every part begins with the state 0.
            begins: ``(N,)`` bool, the first rows of lives.
        """
        first = torch.ones_like(begins)
        if SEGMENT in observations:
            numbers = observations[SEGMENT]
            first[1:] = (numbers[1:] != numbers[:-1]) | begins[1:]
        starts = torch.nonzero(first).flatten()
        if STATE not in observations:
            return Thread(starts, torch.zeros(len(starts), 2 * self.width, device=begins.device))
        going_on = ~begins[starts]
        return Thread(starts, observations[STATE][starts].float() * going_on[:, None])
