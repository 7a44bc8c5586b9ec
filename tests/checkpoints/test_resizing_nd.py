"""A checkpoint of Hyena N-D in a model made for another map size has the kernel that resampling at run time gives."""

import pytest
import torch

from mmhyena.backbones import HyenaSwin
from mmhyena.checkpoints import load_pretrained
from mmhyena.checkpoints.resizing import resize_filters
from mmhyena.layers import HyenaND


@pytest.mark.parametrize('direction', ['causal', 'centered'])
@pytest.mark.parametrize('filter', ['joint', 'product', 'direct'])
@pytest.mark.parametrize('ndim,window', [(1, 'standard'), (2, 'learned'), (2, 'symmetric'), (3, 'symmetric')])
def test_kernel_is_that_of_run_time(ndim, window, filter, direction):
    torch.manual_seed(0)
    kwargs = dict(channels=4, ndim=ndim, filter=filter, window=window, direction=direction, filter_width=8)
    old, new = (HyenaND(map_size=size, **kwargs).double() for size in (4, 6))
    state, notes = resize_filters(old.state_dict(), {key: value.shape for key, value in new.state_dict().items()})
    assert list(notes) == ['long_conv.filter.kernel' if filter == 'direct' else 'long_conv.filter.position.table']
    new.load_state_dict(state)
    spatial = (6,) * ndim
    torch.testing.assert_close(new.long_conv.kernel(spatial), old.long_conv.kernel(spatial))
    assert old.state_dict().keys() == state.keys()


def test_same_size_changes_nothing():
    state = HyenaND(4, 5, filter='product').state_dict()
    resized, notes = resize_filters(state, {key: value.shape for key, value in state.items()})
    assert not notes and all(resized[key] is value for key, value in state.items())


def test_pretrained_weights_at_another_image_size(tmp_path):
    arch = dict(depths=(1, 1, 1, 1), channels=(8, 8, 8, 8))
    old, new = HyenaSwin(arch, img_size=64).eval(), HyenaSwin(arch, img_size=96).eval()
    torch.save(
        {'state_dict': {f'backbone.{key}': value for key, value in old.state_dict().items()}}, tmp_path / 'a.pth'
    )
    load_pretrained(new, tmp_path / 'a.pth')
    x = torch.randn(1, 3, 96, 96)
    for a, b in zip(new(x), old(x), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-3)
