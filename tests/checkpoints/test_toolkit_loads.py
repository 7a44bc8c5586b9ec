"""What the toolkits load by themselves, other than models, is read by the one reader as well."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from hostile_files import HOSTILE
from torch import nn

from mmhyena.checkpoints import use_our_reader
from mmhyena.errors import CheckpointError


def read_codebook(file: Path) -> torch.Tensor:
    from mmpretrain.models.utils.vector_quantizer import EmbeddingEMA

    return EmbeddingEMA(2, 3, codebook_init_path=str(file)).weight.data


def read_queue(file: Path) -> torch.Tensor:
    from mmpretrain.engine.hooks import SwAVHook

    loss = SimpleNamespace()
    model = nn.Module()
    model.head = SimpleNamespace(loss_module=loss)
    hook = SwAVHook(batch_size=1)
    hook.before_run(SimpleNamespace(work_dir=str(file.parent), model=model))
    return loss.queue


def read_prototypes(file: Path) -> torch.Tensor:
    from mmpretrain.models import ImageToImageRetriever

    return ImageToImageRetriever(nn.Identity(), str(file))._get_prototype_vecs_from_path(str(file))


READERS = dict(codebook=read_codebook, queue=read_queue, prototypes=read_prototypes)


@pytest.mark.parametrize('reader', READERS)
@pytest.mark.parametrize('kind', HOSTILE)
def test_no_code_runs(reader, kind, tmp_path):
    pytest.importorskip('mmpretrain')
    file = tmp_path / 'queue.pth'
    HOSTILE[kind](file, tmp_path / 'marker')
    with pytest.raises(CheckpointError) as error:
        READERS[reader](file)
    assert not (tmp_path / 'marker').exists()
    assert str(file) in str(error.value) and 'weights_only' not in str(error.value)


@pytest.mark.parametrize('reader', READERS)
def test_tensors_are_read(reader, tmp_path):
    pytest.importorskip('mmpretrain')
    file, values = tmp_path / 'queue.pth', torch.arange(6.0).reshape(2, 3)
    torch.save(dict(queue=values) if reader == 'queue' else values, file)
    torch.testing.assert_close(READERS[reader](file), values)


def caller(name: str):
    """Return a function of a module of that name which asks torch to execute what a file says."""
    scope = {'__name__': name, 'torch': torch}
    exec('def read(*args, **kwargs):\n    return torch.load(*args, weights_only=False, **kwargs)', scope)
    return scope['read']


@pytest.mark.parametrize(
    'name', ['mmpretrain', 'mmdet.models.new', 'mmseg.x.y', 'mmengine.runner.checkpoint', 'mmcv.cnn']
)
def test_modules_of_toolkits_cannot_ask_for_more(name, tmp_path):
    file = tmp_path / 'hostile.pth'
    HOSTILE['state_dict'](file, tmp_path / 'marker')
    with pytest.raises(CheckpointError):
        caller(name)(file)
    with file.open('rb') as stream, pytest.raises(CheckpointError, match=re.escape(str(file))):
        caller(name)(stream, 'cpu')
    assert not (tmp_path / 'marker').exists()


def test_modules_of_others_reach_torch(tmp_path):
    file = tmp_path / 'any.pth'
    torch.save(dict(a={1, 2}, b=range(3)), file)
    assert caller('mmdetection3d.x')(file, map_location='cpu') == dict(a={1, 2}, b=range(3))


def test_a_place_for_the_tensors(tmp_path):
    file = tmp_path / 'a.pth'
    torch.save(torch.ones(2), file)
    assert caller('mmdet')(file, map_location='meta').device.type == 'meta'
    assert caller('mmdet')(file, 'meta').device.type == 'meta'


def test_torch_load_is_wrapped_once():
    before = torch.load
    use_our_reader()
    assert torch.load is before


def test_toolkits_call_torch_load_by_that_name():
    """Any other way to it would go past the reader."""
    others = re.compile(r'from torch(\.serialization)? import [^\n]*\bload\b|torch\.serialization\.load\b')
    found = []
    for name in ('mmcv', 'mmdet', 'mmengine', 'mmpretrain', 'mmseg'):
        spec = importlib.util.find_spec(name)
        if spec is None:
            continue
        for file in Path(spec.origin).parent.rglob('*.py'):
            if '.mim' not in file.parts and others.search(file.read_text(errors='replace')):
                found.append(str(file))
    assert not found
