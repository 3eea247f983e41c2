"""What every test shares: one torch thread, and a browser for those that look at pages."""

import torch
from browser import browser

__all__ = ["browser"]

torch.set_num_threads(1)
