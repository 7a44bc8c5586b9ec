"""A warm forward makes no tensor from Python data: on a GPU that would copy from the host and stall the queue."""

from __future__ import annotations

import copy

import pytest
import torch
from mixer_cases import MIXERS
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from mmhyena.ops import use_backend

# StarReLU of SepConv reads its scale on a CPU, where that stalls no queue.
NAMES = [name for name in MIXERS if name != 'sep_conv']
FACTORIES = {torch.tensor, torch.as_tensor, torch.from_numpy, torch.scalar_tensor, torch.Tensor.new_tensor}


class NoFactories(TorchFunctionMode):
    """Raises where a tensor is made from Python data."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function in FACTORIES:
            raise AssertionError(f'{function} was called')
        return function(*args, **(kwargs or {}))


class NoCopies(TorchDispatchMode):
    """Raises where data of the host becomes a tensor, which operators of Python indexing do unseen."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function in (torch.ops.aten.lift_fresh_copy.default, torch.ops.aten._local_scalar_dense.default):
            raise AssertionError(f'{function} was called')
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize('backend', ['fft', 'dft', 'direct', None])
@pytest.mark.parametrize('training', [False, True])
@pytest.mark.parametrize('name', NAMES)
def test_makes_no_tensor_from_python_data(name, training, backend):
    torch.manual_seed(0)
    mixer, x = MIXERS[name]().train(training), torch.randn(2, 8, 8, 8)
    choice = use_backend(backend) if backend else torch.enable_grad()
    with choice, torch.set_grad_enabled(training):
        mixer(x)
        with NoFactories(), NoCopies():
            y = mixer(x)
        if training:
            with NoFactories(), NoCopies():
                y.sum().backward()


def test_the_check_sees_what_it_is_for():
    with pytest.raises(AssertionError), NoFactories():
        torch.tensor([1.0, -1.0])
    with pytest.raises(AssertionError), NoFactories():
        torch.ones(2).new_tensor([1.0, -1.0])
    with pytest.raises(AssertionError), NoCopies():
        torch.ones(2).sum().item()


cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a CUDA device')


@cuda
@pytest.mark.parametrize('training', [False, True])
@pytest.mark.parametrize('name', NAMES)
def test_does_not_synchronize(name, training):
    mixer, x = MIXERS[name]().cuda().train(training), torch.randn(2, 8, 8, 8, device='cuda')
    with torch.set_grad_enabled(training):
        mixer(x)
        torch.cuda.set_sync_debug_mode('error')
        try:
            y = mixer(x)
            if training:
                y.sum().backward()
        finally:
            torch.cuda.set_sync_debug_mode('default')


@cuda
@pytest.mark.parametrize('name', NAMES)
def test_is_captured_in_a_cuda_graph(name):
    mixer, x = MIXERS[name]().cuda().eval(), torch.randn(2, 8, 8, 8, device='cuda')
    stream = torch.cuda.Stream()
    with torch.no_grad():
        with torch.cuda.stream(stream):
            for _ in range(3):
                mixer(x)
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            y = mixer(x)
        x.normal_()
        graph.replay()
        torch.testing.assert_close(y, mixer(x), rtol=1e-4, atol=1e-4)


@cuda
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason='needs a second CUDA device')
@pytest.mark.parametrize('name', NAMES)
def test_runs_on_a_device_that_is_not_the_current_one(name):
    mixer, x = MIXERS[name]().eval(), torch.randn(2, 8, 8, 8)
    with torch.no_grad():
        want = mixer(x)
        got = copy.deepcopy(mixer).to('cuda:1')(x.to('cuda:1'))
    torch.testing.assert_close(got.cpu(), want, rtol=1e-3, atol=1e-3)
