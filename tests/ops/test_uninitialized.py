"""The fixture that fills uninitialized memory with NaN does so."""

import torch


def test_memory_is_poisoned():
    x = torch.zeros(2, 3)
    for tensor in (torch.empty(3), torch.empty_like(x), x.new_empty(4, 2), torch.empty_strided((2, 2), (1, 2))):
        assert tensor.isnan().all()
