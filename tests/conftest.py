"""What every test shares: one torch thread, and no cache of compiled code outside the checkout."""

import torch

torch.set_num_threads(1)
