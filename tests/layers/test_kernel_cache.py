"""Kept kernels are those of the present weights, cost what they must, and stay within their bound."""

import copy
import gc
import pickle
import threading

import pytest
import torch
from mmengine.evaluator import BaseMetric, Evaluator
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.registry import FUNCTIONS
from mmengine.runner import Runner
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from mmhyena.layers import HyenaND, HyenaPixel, LongConv
from mmhyena.layers import kernel_cache as module_under_test
from mmhyena.layers.kernel_cache import KernelCache, kernel_cache_bytes, set_kernel_cache_limit, tensors_of
from mmhyena.ops import use_backend

pytestmark = pytest.mark.usefixtures('on_device')


@pytest.fixture(autouse=True)
def _default_limit():
    yield
    set_kernel_cache_limit(module_under_test.DEFAULT_LIMIT)


@pytest.fixture
def module():
    torch.manual_seed(0)
    filter = dict(type='ImplicitFilter', position=dict(type='SinCosPosition', dim=8), width=16, depth=3)
    return LongConv(4, (9, 9), filter, dict(type='RadialWindow')).eval()


@pytest.fixture
def x():
    torch.manual_seed(1)
    return torch.randn(2, 4, 6, 5)


def fresh(module, x):
    """What a module without a cache computes: gradients reach the kernel, so it is made anew."""
    with torch.enable_grad():
        return module(x).detach()


def count_calls(module):
    calls = []
    module.register_forward_hook(lambda *_: calls.append(1))
    return calls


def assert_current(module, x):
    with torch.no_grad():
        torch.testing.assert_close(module(x), fresh(module, x))


def test_filter_runs_once_per_version_of_the_weights(module, x):
    calls = count_calls(module.filter)
    with torch.no_grad():
        for size in ((6, 5), (9, 12), (20, 3), (6, 5)):
            module(torch.randn(1, 4, *size))
    assert len(calls) == 1
    module.train().eval()
    with torch.no_grad():
        module(x)
    assert len(calls) == 2


@pytest.mark.parametrize('window', [None, dict(type='RadialWindow')])
def test_kept_kernels_are_apart_from_the_weights(window):
    module = LongConv(4, (5, 5), dict(type='DirectFilter'), window).eval()
    with torch.no_grad():
        kernel, skip = module._kept_kernels(torch.randn(1, 4, 8, 8))[0]
        want = kernel.clone(), skip.clone()
        for parameter in module.parameters():
            parameter.add_(1)
    assert torch.equal(kernel, want[0]) and torch.equal(skip, want[1])


def test_a_resized_filter_runs_once_per_size(module):
    module.filter_resize = True
    calls = count_calls(module.filter)
    with torch.no_grad():
        for size in ((6, 5), (9, 12), (6, 5), (9, 12)):
            x = torch.randn(1, 4, *size)
            torch.testing.assert_close(module(x), module(x.clone()))
    assert len(calls) == 2


def test_frozen_weights_keep_the_kernel_while_gradients_reach_the_map(module, x):
    module.requires_grad_(False)
    calls = count_calls(module.filter)
    for _ in range(3):
        module(x.clone().requires_grad_()).sum().backward()
    assert len(calls) == 1


def by_optimizer(module, x):
    module(x).square().sum().backward()
    torch.optim.SGD(module.parameters(), 1e-3).step()


def by_load_state_dict(module, x):
    module.load_state_dict({name: value + 0.1 for name, value in module.state_dict().items()})


def by_data_and_mode(module, x):
    """MMEngine's EMA hook swaps weights so; the version counter does not see it, but loops set the mode afterwards."""
    for p in module.parameters():
        p.data.copy_(p.data.clone() + 0.1)
    module.eval()


def by_buffer(module, x):
    module.window.distance.mul_(2)


def by_transposing(module, x):
    weight = module.filter.mlp[2].weight
    assert weight.shape[0] == weight.shape[1]
    weight.data = weight.data.t()


def by_assignment(module, x):
    state = {name: value + 0.1 for name, value in module.state_dict().items()}
    module.load_state_dict(state, assign=True)


def by_new_parameter(module, x):
    module.skip = nn.Parameter(torch.full_like(module.skip, 3.0))


@pytest.mark.parametrize(
    'change',
    [
        by_optimizer,
        by_load_state_dict,
        by_assignment,
        by_data_and_mode,
        by_buffer,
        by_transposing,
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
        by_data_and_mode(other, x)
        assert_current(other, x)
        assert_current(module, x)
        with torch.no_grad():
            assert not torch.allclose(other(x), module(x))


@pytest.mark.parametrize('kind', ['LongConv', 'HyenaND'])
def test_sizes_and_backends_in_turn(module, kind):
    make_input = lambda h, w: torch.randn(1, 4, h, w)  # noqa: E731
    if kind == 'HyenaND':
        torch.manual_seed(0)
        module = HyenaND(4, 9, order=3, direction='alternating').eval()
        make_input = lambda h, w: torch.randn(1, h, w, 4)  # noqa: E731
    maps = [make_input(h, w) for h, w in ((6, 5), (9, 4), (30, 25), (3, 3), (1, 1), (12, 12))]
    for _ in range(2):
        for x in maps:
            assert_current(module, x)
            with use_backend('dft'):
                assert_current(module, x)


@pytest.mark.parametrize('backend', ['fft', 'dft', 'direct'])
def test_a_backend_is_used_after_a_first_forward_with_another(backend, monkeypatch):
    module = HyenaND(4, 9).eval()
    x = torch.randn(1, 6, 5, 4)
    seen = []
    monkeypatch.setattr(
        'mmhyena.layers.long_conv.prepared_long_conv', lambda u, k, **gates: seen.append(k.backend) or u
    )
    with torch.no_grad():
        module(x)
        with use_backend(backend):
            module(x)
    assert seen[1] == backend


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
    cache, made = KernelCache(), []
    for _ in range(2):
        cache.get('key', [source], lambda: made.append(0) or torch.zeros(1))
    assert len(made) == 1


def test_storage_of_weights_can_be_resized(module, x):
    """FSDP frees and fills the memory of weights so."""
    with torch.no_grad():
        module(x)
    storage, values = module.skip.untyped_storage(), module.skip.detach() + 1
    size = storage.nbytes()
    storage.resize_(0)
    storage.resize_(size)
    with torch.no_grad():
        module.skip.copy_(values)
    assert_current(module, x)


def test_least_recently_used_value_goes_first_and_costly_ones_last():
    set_kernel_cache_limit(0)  # what models of other tests left would go first
    set_kernel_cache_limit(3 * 400)
    cache, source = KernelCache(), torch.zeros(1)
    made = []

    def get(key, is_costly=False):
        cache.get(key, [source], lambda: made.append(key) or torch.zeros(100), is_costly=is_costly)

    get('kernel', True)
    for key in 'abacab':
        get(key)
    assert made == ['kernel', 'a', 'b', 'c', 'b']
    get('kernel', True)
    assert made[-1] == 'b'
    assert kernel_cache_bytes() == 1200


def test_bytes_are_bounded_over_many_sizes_of_many_modules(module, x):
    modules = [module, *(copy.deepcopy(module) for _ in range(3))]
    module_under_test._store.shrink()
    set_kernel_cache_limit(kernel_cache_bytes() + 2**17)
    peak = 0
    calls = [count_calls(m.filter) for m in modules]
    for side in range(3, 40):
        for m in modules:
            with torch.no_grad():
                m(torch.randn(1, 4, side, side + 3))
            peak = max(peak, kernel_cache_bytes())
    assert peak <= module_under_test._store.limit
    assert all(len(c) == 1 for c in calls)  # transforms leave before kernels
    assert_current(module, x)


def test_nothing_is_kept_where_nothing_fits(module, x):
    set_kernel_cache_limit(0)
    calls = count_calls(module.filter)
    for _ in range(2):
        assert_current(module, x)
    assert kernel_cache_bytes() == 0 and len(calls) == 4
    with pytest.raises(ValueError, match='must not be negative'):
        set_kernel_cache_limit(-1)


def test_bytes_are_given_back_with_the_module_and_by_the_mode(module, x):
    base = kernel_cache_bytes()
    other = copy.deepcopy(module)
    with torch.no_grad():
        other(x)
    assert kernel_cache_bytes() > base
    other.train()
    assert kernel_cache_bytes() == base
    with torch.no_grad():
        other.eval()(x)
    assert kernel_cache_bytes() > base
    del other
    gc.collect()
    assert kernel_cache_bytes() == base


def test_a_module_that_was_used_is_pickled_without_its_kernels(module, x):
    cold = len(pickle.dumps(module))
    with torch.no_grad():
        module(torch.randn(1, 4, 40, 40))
    assert abs(len(pickle.dumps(module)) - cold) < 16  # the modules' handles may differ in length


def test_tensors_of_finds_what_parameters_and_buffers_do(module):
    want = {id(t) for t in (*module.parameters(), *module.buffers())}
    assert {id(t) for t in tensors_of(module)} == want


def test_fake_meta_and_functional_tensors_are_never_kept(module, x):
    base = kernel_cache_bytes()
    with torch.no_grad():
        with FakeTensorMode(allow_non_fake_inputs=True) as mode:
            assert module(mode.from_tensor(x)).shape == x.shape
        assert copy.deepcopy(module).to('meta')(x.to('meta')).shape == x.shape
        weights = {name: torch.stack([p, 2 * p]) for name, p in module.named_parameters()}
        call = lambda w: torch.func.functional_call(module, w, (x,))  # noqa: E731
        got = torch.func.vmap(call)(weights)
    assert kernel_cache_bytes() == base
    torch.testing.assert_close(got[0], fresh(module, x))
    assert_current(module, x)


def test_gates_are_applied_by_every_path(module, x):
    pre, post = torch.randn_like(x), torch.randn_like(x)
    want = post * fresh(module, pre * x)
    with torch.no_grad():
        torch.testing.assert_close(module(x, pre=pre, post=post), want)
    torch.testing.assert_close(module(x, pre=pre, post=post).detach(), want)
    torch.testing.assert_close(module(x, module.kernel(x.shape[2:]), pre=pre, post=post).detach(), want)


@FUNCTIONS.register_module()
def stack_maps(batch):
    return torch.stack(batch)


class _EmaModel(BaseModel):
    """A mixer with a loss; what it answers in validation is a scalar of its output."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.mixer = HyenaPixel(4, 7)
        nn.init.constant_(self.mixer.long_conv.skip, 5.0)
        nn.init.zeros_(self.mixer.out_proj.bias)

    def forward(self, x, mode='tensor'):
        y = self.mixer(x)
        return dict(loss=(y - 1).square().mean()) if mode == 'loss' else [y.square().sum()]

    def train_step(self, data, optim_wrapper):
        loss = self(data, mode='loss')['loss']
        optim_wrapper.update_params(loss)
        return dict(loss=loss)

    def val_step(self, data):
        return self(data)


class _Answer(BaseMetric):
    """Keeps what the model answered."""

    def process(self, data_batch, data_samples):
        self.results.append(float(data_samples[0]))

    def compute_metrics(self, results):
        return dict(answer=sum(results))


def ema_images():
    torch.manual_seed(1)
    return torch.randn(4, 6, 5, 4)


def ema_runner(work_dir, epochs, resume=False):
    images = ema_images()
    sampler = dict(type='DefaultSampler', shuffle=False)
    loader = dict(batch_size=2, sampler=sampler, collate_fn=dict(type='stack_maps'), dataset=list(images))
    return Runner(
        _EmaModel(),
        str(work_dir),
        train_dataloader=loader,
        val_dataloader=loader,
        train_cfg=dict(by_epoch=True, max_epochs=epochs, val_interval=1),
        val_cfg=dict(),
        val_evaluator=Evaluator(_Answer()),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.01)),
        custom_hooks=[dict(type='EMAHook', momentum=0.3)],
        default_hooks=dict(checkpoint=dict(type='CheckpointHook', interval=1)),
        default_scope='mmengine',
        experiment_name=f'ema_{epochs}_{resume}',
        resume=resume,
    )


class _CheckEma(Hook):
    """Computes what validation has to answer with the average, and what it would answer with kernels of raw weights.

    Its priority is below that of the EMA hook, which swaps the average in before this hook runs.
    """

    priority = 'VERY_LOW'

    def __init__(self, images):
        self.images = images
        self.answers, self.wanted, self.stale = [], [], []

    def answer(self, model, conv=None):
        """Return the sum over all batches, without any kept kernel."""
        model = copy.deepcopy(model)  # a copy keeps nothing, and training makes every kernel anew
        model.mixer.long_conv = model.mixer.long_conv if conv is None else conv
        model.train()
        with torch.no_grad():
            return sum(float(model(self.images[i : i + 2])[0]) for i in (0, 2))

    def after_train_epoch(self, runner):
        with torch.no_grad():
            runner.model.mixer.long_conv.skip.fill_(5.0 if runner.epoch % 2 else 20.0)  # far from the average
            runner.model.eval()(self.images)  # keeps kernels of the raw weights, which validation must not use
        self.raw = copy.deepcopy(runner.model.mixer.long_conv)

    def before_val_epoch(self, runner):
        self.wanted.append(self.answer(runner.model))
        self.stale.append(self.answer(runner.model, self.raw))

    def after_val_epoch(self, runner, metrics=None):
        self.answers.append(metrics['answer'])


def test_ema_of_mmengine_validates_with_the_kernels_of_the_average(tmp_path):
    """Train, validate with swapped weights, resume: the answers are those of a model without any cache."""
    images = ema_images()
    for epochs, resume, validations in ((3, False, 3), (5, True, 2)):
        check = _CheckEma(images)
        runner = ema_runner(tmp_path, epochs, resume)
        runner.register_hook(check)
        runner.train()
        assert check.answers == pytest.approx(check.wanted, rel=1e-4) and len(check.answers) == validations
        assert all(abs(a - b) > 0.1 * abs(b) for a, b in zip(check.stale, check.wanted)), 'stale kernels go unnoticed'
