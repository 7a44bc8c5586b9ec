"""Cached kernels are those of the present weights, however these came about."""

import copy
import pickle
import threading

import pytest
import torch
from torch import nn

from mmhyena.layers import LongConv
from mmhyena.layers.kernel_cache import TensorCache, tensors_of
from mmhyena.ops import prepare_kernel, use_backend


@pytest.fixture
def module():
    torch.manual_seed(0)
    filter = dict(type='ImplicitFilter', position=dict(type='SinCosPosition', dim=8), width=16, depth=3)
    return LongConv(4, (9, 9), filter, dict(type='RadialWindow')).eval()


@pytest.fixture
def x():
    return torch.randn(2, 4, 6, 5, generator=torch.Generator().manual_seed(1))


def fresh(module, x):
    """What a module without a cache computes: gradients reach the kernel, so it is made anew."""
    with torch.enable_grad():
        return module(x).detach()


def assert_current(module, x):
    with torch.no_grad():
        torch.testing.assert_close(module(x), fresh(module, x))


def test_kernel_is_made_once(module, x, monkeypatch):
    calls = []
    monkeypatch.setattr(
        'mmhyena.layers.long_conv.prepare_kernel', lambda *a, **k: calls.append(0) or prepare_kernel(*a, **k)
    )
    with torch.no_grad():
        for _ in range(3):
            module(x)
    assert len(calls) == 1
    assert_current(module, x)


def by_optimizer(module, x):
    module(x).square().sum().backward()
    torch.optim.SGD(module.parameters(), 1e-3).step()


def by_load_state_dict(module, x):
    module.load_state_dict({name: value + 0.1 for name, value in module.state_dict().items()})


def by_data(module, x):
    """MMEngine's EMA hook swaps weights so; the version counter does not see it."""
    for p in module.parameters():
        ema = p.data.clone() + 0.1
        kept = p.data.clone()
        p.data.copy_(ema)
        ema.copy_(kept)


def by_one_element(module, x):
    module.filter.mlp[0].weight.data[3, 2] += 0.5


def by_buffer(module, x):
    module.window.distance.data.mul_(2)


def by_transposing(module, x):
    weight = module.filter.mlp[2].weight
    assert weight.shape[0] == weight.shape[1]
    weight.data = weight.data.t()


def by_data_of_strided_memory(module, x):
    weight = module.filter.mlp[0].weight
    weight.data = weight.data.t().contiguous().t()
    assert not weight.is_contiguous()
    with torch.no_grad():
        module(x)
    weight.data[-1, -1] += 0.5


def by_new_parameter(module, x):
    module.skip = nn.Parameter(torch.full_like(module.skip, 3.0))


@pytest.mark.parametrize(
    'change',
    [
        by_optimizer,
        by_load_state_dict,
        by_data,
        by_one_element,
        by_buffer,
        by_transposing,
        by_data_of_strided_memory,
        by_new_parameter,
    ],
)
def test_change_of_weights_is_seen(module, x, change):
    with torch.no_grad():
        before = module(x)
    change(module, x)
    with torch.no_grad():
        assert not torch.allclose(module(x), before)
    assert_current(module, x)


def test_other_type_and_back(module, x):
    assert_current(module, x)
    module.double()
    assert_current(module, x.double())
    module.float()
    assert_current(module, x)


def test_copies_are_independent(module, x):
    assert_current(module, x)
    for other in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        by_data(other, x)
        assert_current(other, x)
        assert_current(module, x)
        with torch.no_grad():
            assert not torch.allclose(other(x), module(x))


def test_sizes_and_backends_in_turn(module):
    maps = [torch.randn(1, 4, h, w) for h, w in ((6, 5), (9, 4), (30, 25), (3, 3), (1, 1), (12, 12))]
    for _ in range(2):
        for x in maps:
            assert_current(module, x)
            with use_backend('dft'):
                assert_current(module, x)


def test_threads_share_one_module(module):
    maps = [torch.randn(1, 4, n, n + 1) for n in range(3, 11)]
    want = [fresh(module, x) for x in maps]
    errors = []

    def work(offset):
        for i in range(40):
            j = (i + offset) % len(maps)
            with torch.no_grad():
                if not torch.allclose(module(maps[j]), want[j], atol=1e-5):
                    errors.append(j)

    threads = [threading.Thread(target=work, args=(offset,)) for offset in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors


def test_inference_mode_leaves_no_trace(module, x):
    with torch.inference_mode():
        module(x)
    module.requires_grad_(False)
    u = x.clone().requires_grad_()
    got = torch.autograd.grad(module(u).square().sum(), u)[0]
    module.requires_grad_(True)
    want = torch.autograd.grad(module(u).square().sum(), u)[0]
    torch.testing.assert_close(got, want)


def test_training_sees_every_step(module, x):
    module.train()
    for _ in range(2):
        before = module(x).detach()
        by_optimizer(module, x)
        assert not torch.allclose(module(x), before)


@pytest.mark.parametrize(
    'source',
    [torch.tensor([1.0, float('nan')]), torch.zeros(()), torch.zeros(3, 0), torch.arange(6.0).view(2, 3).t()[1:]],
    ids=['nan', 'scalar', 'empty', 'strided'],
)
def test_unchanged_tensors_of_any_kind_are_current(source):
    cache, made = TensorCache(), []
    for _ in range(2):
        cache.get('key', [source], lambda: made.append(0))
    assert len(made) == 1


@pytest.mark.parametrize('dtype', [torch.float64, torch.bfloat16, torch.int8, torch.bool])
def test_types_of_any_width_are_compared(dtype):
    cache, source, made = TensorCache(), torch.zeros(3, dtype=dtype), []
    for _ in range(2):
        cache.get('key', [source], lambda: made.append(0))
    source.data[2] = 1
    cache.get('key', [source], lambda: made.append(0))
    assert len(made) == 2


def test_storage_of_weights_can_be_resized(module, x):
    """FSDP frees and fills the memory of weights so."""
    with torch.no_grad():
        module(x)
    storage, values = module.skip.untyped_storage(), module.skip.detach() + 1
    size = storage.nbytes()
    storage.resize_(0)
    storage.resize_(size)
    module.skip.data.copy_(values)
    assert_current(module, x)


def test_least_recently_used_value_goes_first():
    cache, source = TensorCache(capacity=2), torch.zeros(1)
    made = []
    for key in 'abacab':
        cache.get(key, [source], lambda key=key: made.append(key) or key)
    assert made == ['a', 'b', 'c', 'b']


def test_tensors_of_finds_what_parameters_and_buffers_do(module):
    want = {id(t) for t in (*module.parameters(), *module.buffers())}
    assert {id(t) for t in tensors_of(module)} == want
