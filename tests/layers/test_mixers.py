"""Mixers against their formulas, written out with the naive convolution, over odd, tiny and non-square maps."""

import copy

import pytest
import torch
import torch.nn.functional as F
from mmengine.utils import digit_version

from mmhyena.layers import Attention, BidirectionalHyena, HyenaPixel, SepConv
from mmhyena.ops import naive_long_conv

pytestmark = pytest.mark.usefixtures('on_device')

SIZES = [(1, 1), (1, 6), (4, 4), (5, 7), (9, 3)]


def mixer(cls, **kwargs):
    torch.manual_seed(0)
    module = cls(**kwargs).double()
    for parameter in module.parameters():  # no parameter may hide behind its initial value
        torch.nn.init.normal_(parameter, std=0.3)
    return module


def sine_mlp(module, x):
    *hidden, last = module
    for linear, sine in zip(hidden[::2], hidden[1::2], strict=True):
        x = torch.sin(sine.frequency * (x @ linear.weight.T + linear.bias))
    return x @ last.weight.T


def norm(module, x):
    if isinstance(module, torch.nn.Identity):
        return x
    centered = x - x.mean(-1, keepdim=True)
    return centered / (centered.square().mean(-1, keepdim=True) + 1e-5).sqrt() * module.weight


def naive_hyena_pixel(m, x):
    k = sine_mlp(m.long_conv.filter.mlp, m.long_conv.filter.position.table).movedim(-1, 0)  # (C, k, k)
    taps = k.shape[-1]
    offset = torch.arange(taps, dtype=x.dtype) - taps // 2
    distance = (offset[:, None].square() + offset.square()).sqrt()
    window = m.long_conv.window
    k = k * (torch.exp(-distance * window.delta.abs()[:, None, None]) + window.shift[:, None, None])
    qkv = F.conv2d(m.in_proj(x).permute(0, 3, 1, 2), m.short_conv.weight, m.short_conv.bias, padding=2, groups=24)
    q, key, v = (part.permute(0, 2, 3, 1) for part in qkv.split(8, dim=1))
    s = norm(m.gate_norm, q * key).permute(0, 3, 1, 2)
    s = naive_long_conv(s, k, m.long_conv.skip).permute(0, 2, 3, 1)
    return m.out_proj(norm(m.out_norm, v * s))


def naive_bidirectional(m, x):
    k = sine_mlp(m.long_conv.filter.mlp, m.long_conv.filter.position.table).T  # (C, taps)
    half = k.shape[-1] // 2
    t = torch.arange(-half, half + 1).abs().to(x.dtype) / half
    rates = torch.linspace(3.0701134573253943, 15.350567286626971, 8).to(x.dtype)  # a float32 buffer
    k = k * torch.exp(-t * rates[:, None])
    z = F.conv1d(m.in_proj(x.flatten(1, 2)).mT, m.short_conv.weight, m.short_conv.bias, padding=1, groups=24)
    x0, x1, v = (part.mT for part in z.split(8, dim=1))
    v = norm(m.gate_norm, v * x1).mT
    return m.out_proj(norm(m.out_norm, naive_long_conv(v, k, m.long_conv.skip).mT * x0)).view_as(x)


CASES = [
    (HyenaPixel, dict(kernel_size=7, position_dim=4), naive_hyena_pixel),
    (BidirectionalHyena, dict(l_max=16, position_dim=5, width=6), naive_bidirectional),
]


@pytest.mark.parametrize('norms', [False, True])
@pytest.mark.parametrize('size', SIZES)
@pytest.mark.parametrize('cls,kwargs,naive', CASES)
def test_equals_formula_with_every_gradient(cls, kwargs, naive, size, norms):
    m = mixer(cls, channels=8, norm=norms, **kwargs)
    x = torch.randn(2, *size, 8, dtype=torch.float64, requires_grad=True)
    got, want = m(x), naive(m, x)
    torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-5)
    inputs = [x, *m.parameters()]
    weight = torch.randn_like(want)
    gots = torch.autograd.grad(got, inputs, weight, allow_unused=True)
    wants = torch.autograd.grad(want, inputs, weight, allow_unused=True)
    for name, a, b in zip(['x', *dict(m.named_parameters())], gots, wants, strict=True):
        assert a is not None, name
        torch.testing.assert_close(a, torch.zeros_like(a) if b is None else b, rtol=1e-5, atol=1e-5, msg=name)


@pytest.mark.parametrize('resize', [False, True])
@pytest.mark.parametrize('cls,kwargs', [case[:2] for case in CASES])
def test_eval_and_prepared_kernel_equal_training(cls, kwargs, resize):
    m = mixer(cls, channels=8, filter_resize=resize, **kwargs)
    for size in [*SIZES, SIZES[2]]:
        x = torch.randn(2, *size, 8, dtype=torch.float64)
        want = m.train()(x)
        torch.testing.assert_close(m(x, m.prepare(size)), want)
        with torch.no_grad():
            torch.testing.assert_close(m.eval()(x), want)


@pytest.mark.parametrize('cls,kwargs', [case[:2] for case in CASES])
def test_resizing_changes_nothing_at_the_built_size(cls, kwargs):
    m = mixer(cls, channels=8, **kwargs)
    resizing = copy.deepcopy(m)
    resizing.long_conv.filter_resize = True
    x = torch.randn(1, 4, 4, 8, dtype=torch.float64)  # 7 taps an axis, or 31 over 16 pixels: the built size
    torch.testing.assert_close(resizing(x), m(x))
    larger = torch.randn(1, 8, 10, 8, dtype=torch.float64)
    assert not torch.allclose(resizing(larger), m(larger))


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
@pytest.mark.parametrize('cls,kwargs', [case[:2] for case in CASES])
def test_autocast_keeps_the_long_convolution_in_float32(cls, kwargs, dtype, device):
    if device.type == 'cpu' and dtype == torch.float16 and digit_version(torch.__version__) < digit_version('2.4'):
        pytest.skip('autocast of this torch has no float16 on a CPU')
    m = mixer(cls, channels=8, **kwargs).float()
    x = torch.randn(2, 6, 5, 8)
    seen = []
    m.long_conv.register_forward_hook(
        lambda module, args, kwargs, out: seen.append((args[0], kwargs, out)), with_kwargs=True
    )
    with torch.autocast(device.type, dtype=dtype):
        m(x).float().sum().backward()
    u, gates, y = seen[0]
    assert y.dtype == u.dtype
    with torch.no_grad():
        u = gates['pre'] * u if 'pre' in gates else u
        want = gates['post'].float() * naive_long_conv(u.float(), m.long_conv.kernel(u.shape[2:]), m.long_conv.skip)
    torch.testing.assert_close(y, want.to(y.dtype), rtol=2e-2, atol=2e-2)
    assert all(torch.isfinite(p.grad).all() for p in m.parameters())


def test_attention_equals_formula():
    m = mixer(Attention, channels=12, head_dim=4)
    x = torch.randn(2, 3, 5, 12, dtype=torch.float64)
    tokens = x.flatten(1, 2)
    heads = []
    for q, k, v in zip(*(part.split(4, dim=-1) for part in (tokens @ m.qkv.weight.T).split(12, dim=-1)), strict=True):
        heads.append(torch.softmax(q @ k.mT / 2.0, dim=-1) @ v)
    want = (torch.cat(heads, dim=-1) @ m.proj.weight.T).view_as(x)
    torch.testing.assert_close(m(x), want)
    with pytest.raises(ValueError, match='head_dim'):
        Attention(10, head_dim=4)


def test_sep_conv_equals_formula():
    m = mixer(SepConv, channels=4)
    x = torch.randn(2, 5, 9, 4, dtype=torch.float64)
    h = m.act.scale * F.relu(x @ m.in_proj.weight.T) ** 2 + m.act.bias
    h = F.conv2d(h.permute(0, 3, 1, 2), m.conv.weight, padding=3, groups=8)
    torch.testing.assert_close(m(x), h.permute(0, 2, 3, 1) @ m.out_proj.weight.T)


def test_a_new_filter_and_window_are_one_registration_each():
    from mmhyena.registry import MODELS

    class Box(torch.nn.Module):
        def __init__(self, channels, kernel_size, gain):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.full((channels,), gain))

        def forward(self, size):
            return self.weight[:, None, None].expand(-1, *size)

    class Double(torch.nn.Module):
        def __init__(self, channels, kernel_size):
            super().__init__()

        def forward(self, kernel):
            return 2 * kernel

    MODELS.register_module(module=Box)
    MODELS.register_module(module=Double)
    try:
        m = HyenaPixel(4, 3, filter=dict(type='Box', gain=0.5), window=dict(type='Double'))
        torch.testing.assert_close(m.prepare((8, 8)), torch.ones(4, 3, 3))
        assert m(torch.randn(1, 8, 8, 4)).shape == (1, 8, 8, 4)
    finally:
        del MODELS._module_dict['Box'], MODELS._module_dict['Double']
