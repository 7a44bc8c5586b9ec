"""Bytes that a training step keeps for the backward pass, per image and architecture.

Command: python -m benchmarks.activation_memory > benchmarks/results/activation_memory.csv

Every backbone runs once forward in training mode on one image; what autograd saves is counted once per storage, without
the parameters. Measured on a CPU in float32. On a GPU the same maps are kept, but the fused kernels differ, and mixed
precision halves most of it; nothing here was measured on a GPU.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Sequence

import torch
from torch import nn

from mmhyena.backbones import HyenaFormer, HyenaSwin, HyenaViT

FAMILIES: dict[str, type[nn.Module]] = {'HyenaFormer': HyenaFormer, 'HyenaSwin': HyenaSwin, 'HyenaViT': HyenaViT}
MIB = 2**20


def saved_bytes(model: nn.Module, size: int) -> int:
    """Return the bytes that autograd keeps after a forward pass on one ``size`` x ``size`` image."""
    own = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    kept: dict[int, torch.UntypedStorage] = {}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage  # held, so that no address is used twice
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        outputs = model.train()(torch.randn(1, 3, size, size))
    total = sum(storage.nbytes() for storage in kept.values())
    del outputs
    return total


def main(argv: Sequence[str] | None = None) -> int:
    """Write one row per architecture as CSV."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument('--size', type=int, default=224, help='height and width of the image')
    parser.add_argument('--families', nargs='+', choices=list(FAMILIES), default=list(FAMILIES))
    parser.add_argument('--archs', nargs='+', help='only these architectures')
    args = parser.parse_args(argv)
    writer = csv.writer(sys.stdout, lineterminator='\n')
    writer.writerow(['family', 'arch', 'size', 'parameters', 'saved_mib'])
    for name in args.families:
        family = FAMILIES[name]
        for arch in family.arch_settings:
            if args.archs and arch not in args.archs:
                continue
            torch.manual_seed(0)
            model = family(arch)
            count = sum(parameter.numel() for parameter in model.parameters())
            writer.writerow([name, arch, args.size, count, round(saved_bytes(model, args.size) / MIB, 1)])
            sys.stdout.flush()
    return 0


if __name__ == '__main__':
    sys.exit(main())
