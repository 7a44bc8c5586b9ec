"""Data files that MMEngine and the toolkits unpickle or read as YAML make plain data, and call nothing."""

from __future__ import annotations

import importlib.util
import io
import pickle
import re
from collections import OrderedDict, defaultdict
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import mmengine
import numpy as np
import pytest
import torch
from hostile_files import HISTORY, command
from mmengine.structures import InstanceData

from mmhyena.checkpoints import use_our_reader
from mmhyena.checkpoints.data_files import read_pickle
from mmhyena.errors import UserError

PICKLES: dict[str, Callable[[Path], bytes]] = {
    'newest': lambda marker: pickle.dumps({'a.jpg': command(marker)}),
    'oldest': lambda marker: pickle.dumps({'a.jpg': command(marker)}, 0),
    'array of objects': lambda marker: pickle.dumps(np.array([command(marker)], dtype=object)),
    'in a structure': lambda marker: pickle.dumps(_structure(marker)),
    'factory': lambda marker: b'ccollections\ndefaultdict\n(cos\nsystem\ntR.',
    'tensor': lambda marker: pickle.dumps(_Storage(marker)),
    'training history': lambda marker: HISTORY + b'.',
    'getattr': lambda marker: b'cbuiltins\ngetattr\n(cbuiltins\nlist\nS"__class__"\ntR.',
    'instance': lambda marker: b"(S'touch %s'\nios\nsystem\n." % str(marker).encode(),
    'dotted name': lambda marker: b'\x80\x04\x8c\x05torch\x8c\x0eos.system\x93.',
}
YAML = ('!!python/object/apply:os.system ["touch {}"]', 'a: !!python/object/new:os.system ["touch {}"]')


def _structure(marker: Path) -> InstanceData:
    data = InstanceData()
    vars(data)['a'] = command(marker)
    return data


class _Storage:
    """A tensor whose storage is a hostile file of ``torch.save``."""

    def __init__(self, marker: Path) -> None:
        stream = io.BytesIO()
        torch.save(command(marker), stream)
        self.content = stream.getvalue()

    def __reduce__(self) -> tuple:
        return torch.storage._load_from_bytes, (self.content,)


def structure() -> InstanceData:
    data = InstanceData(metainfo=dict(img_path='a.jpg'))
    data.bboxes, data.scores, data.labels = np.ones((2, 4), 'f4'), torch.ones(2), [1, 2]
    return data


GOOD = {
    'arrays': lambda: {'a.jpg': np.ones((2, 5), 'f4'), 'b.jpg': np.zeros((0, 5), 'f8')},
    'list': lambda: [np.arange(3), np.array(['a', 'b']), np.array([dict(a=1), None], dtype=object)],
    'tensors': lambda: [torch.ones(2, 3), torch.ones(2, dtype=torch.bfloat16), torch.nn.Parameter(torch.ones(1))],
    'predictions': lambda: [dict(scores=torch.ones(2), masks=[dict(size=[2, 2], counts=b'\xff\x00')], shape=(2, 2))],
    'containers': lambda: [OrderedDict(a={1, 2}), defaultdict(list, a=[1]), frozenset([b'']), np.float32(2), 1j, None],
}


@pytest.mark.parametrize('protocol', range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize('content', GOOD)
def test_plain_data_are_read(content, protocol, tmp_path):
    file = tmp_path / 'data.pkl'
    file.write_bytes(pickle.dumps(GOOD[content](), protocol))
    assert repr(mmengine.load(file)) == repr(GOOD[content]())


def test_proposals_of_mmdet_are_read(tmp_path):
    mmengine.dump({'val/a.jpg': structure()}, tmp_path / 'proposals.pkl')
    read = mmengine.load(tmp_path / 'proposals.pkl')['val/a.jpg']
    assert type(read) is InstanceData and len(read[:1]) == 1
    torch.testing.assert_close(read.bboxes, structure().bboxes)
    assert read.metainfo == structure().metainfo and read.labels == [1, 2]


@pytest.mark.parametrize('kind', PICKLES)
@pytest.mark.parametrize('suffix', ['pkl', 'pickle'])
def test_a_pickle_calls_nothing(kind, suffix, tmp_path):
    file, marker = tmp_path / f'data.{suffix}', tmp_path / 'marker'
    file.write_bytes(PICKLES[kind](marker))
    with pytest.raises(UserError) as error:
        mmengine.load(str(file))
    assert not marker.exists()
    assert str(file) in str(error.value) and '\n' not in str(error.value)


def test_what_is_refused_is_named(tmp_path):
    file = tmp_path / 'data.pkl'
    file.write_bytes(PICKLES['newest'](tmp_path / 'marker'))
    with pytest.raises(UserError, match=r'data\.pkl is not read: it refers to posix\.system, .*; save it again as'):
        mmengine.load(file)


@pytest.mark.parametrize('content', [b'', b'{"a": 1}', pickle.dumps(list(range(100)))[:-5]])
def test_no_pickle(content, tmp_path):
    (tmp_path / 'data.pkl').write_bytes(content)
    with pytest.raises(UserError, match=r'data\.pkl cannot be read'):
        mmengine.load(tmp_path / 'data.pkl')


def test_a_pickle_changes_no_class():
    """BUILD sets attributes of whatever lies on the stack."""
    content = b'cmmengine.structures.instance_data\nInstanceData\n(N}S"__len__"\nI1\nstb.'
    before = InstanceData.__len__
    read_pickle(io.BytesIO(content), 'a file')
    assert InstanceData.__len__ is before
    content = b'ctorch._utils\n_rebuild_parameter\n(N}S"__defaults__"\n(I1\ntstb.'
    read_pickle(io.BytesIO(content), 'a file')
    assert torch._utils._rebuild_parameter.__defaults__ is None


@pytest.mark.parametrize('content', YAML)
@pytest.mark.parametrize('suffix', ['yml', 'yaml'])
def test_yaml_calls_nothing(content, suffix, tmp_path):
    file, marker = tmp_path / f'data.{suffix}', tmp_path / 'marker'
    file.write_text(content.format(marker))
    with pytest.raises(UserError, match=rf'data\.{suffix} is not read: its tag !!python/object') as error:
        mmengine.load(file)
    assert not marker.exists() and '\n' not in str(error.value)


def test_yaml_is_read(tmp_path):
    (tmp_path / 'a.yml').write_text('a: [1, 2.5]\nb: {c: text}\n')
    assert mmengine.load(tmp_path / 'a.yml') == dict(a=[1, 2.5], b=dict(c='text'))
    (tmp_path / 'b.yml').write_text('a: [1')
    with pytest.raises(UserError, match=r'b\.yml cannot be read as YAML') as error:
        mmengine.load(tmp_path / 'b.yml')
    assert '\n' not in str(error.value)


# --------------------------------------------------------------------------------- what the toolkits read by themselves


def read_label_tree(file: Path) -> np.ndarray:
    module = pytest.importorskip('mmdet.datasets.openimages')
    return module.OpenImagesChallengeDataset._get_relation_matrix(SimpleNamespace(backend_args=None), str(file))


def read_image(file: Path) -> np.ndarray:
    pytest.importorskip('mmseg')
    from mmseg.datasets.transforms import LoadBiomedicalData

    use_our_reader()
    results = LoadBiomedicalData(decode_backend='pickle').transform(dict(img_path=str(file)))
    return results['img']


def read_batch(file: Path) -> np.ndarray:
    pytest.importorskip('mmpretrain')
    from mmpretrain.datasets import cifar

    use_our_reader()
    return cifar.pickle.loads(file.read_bytes(), encoding='latin1')


READERS = dict(label_tree=read_label_tree, image=read_image, batch=read_batch)


@pytest.mark.parametrize('reader', READERS)
@pytest.mark.parametrize('kind', PICKLES)
def test_toolkits_call_nothing(reader, kind, tmp_path):
    path, marker = tmp_path / 'data', tmp_path / 'marker'
    path.write_bytes(PICKLES[kind](marker))
    with pytest.raises(UserError):
        READERS[reader](path)
    assert not marker.exists()


def test_arrays_of_objects_are_not_read(tmp_path):
    path, marker = tmp_path / 'tree.npy', tmp_path / 'marker'
    np.save(path, np.array([command(marker)], dtype=object))
    with pytest.raises(UserError, match=rf'{re.escape(str(path))} is not read: it is damaged or holds objects'):
        read_label_tree(path)
    np.savez(tmp_path / 'tree.npz', np.array([command(marker)], dtype=object))
    scope = {'__name__': 'mmdet.new', 'np': np}
    exec('def read(file):\n    return np.load(file, allow_pickle=True)', scope)
    with pytest.raises(ValueError, match='allow_pickle=False'):
        scope['read'](tmp_path / 'tree.npz')['arr_0']
    assert not marker.exists()


@pytest.mark.parametrize('write', [np.save, lambda file, values: values.dump(file)])
def test_label_trees_are_read(write, tmp_path):
    values = np.arange(9.0).reshape(3, 3)
    with (tmp_path / 'tree.np').open('wb') as stream:
        write(stream, values)
    np.testing.assert_array_equal(read_label_tree(tmp_path / 'tree.np'), values[1:, 1:])


def test_others_reach_numpy(tmp_path):
    values = np.empty(1, dtype=object)
    values[0] = Path('a')
    np.save(tmp_path / 'a.npy', values)
    assert np.load(tmp_path / 'a.npy', None, True)[0] == Path('a')


def test_every_reader_of_a_toolkit_is_known():
    """A new one has to be looked at: whether it takes the name ``pickle``, and whether its data come from elsewhere."""
    unpickles = re.compile(
        r'pickle\.loads?\(|from pickle import|import (dill|joblib|cloudpickle)|from numpy import .*load\b'
    )
    found = set()
    for name in ('mmcv', 'mmdet', 'mmpretrain', 'mmseg'):
        spec = importlib.util.find_spec(name)
        if spec is None:
            continue
        root = Path(spec.origin).parent
        for file in root.rglob('*.py'):
            if '.mim' not in file.parts and unpickles.search(file.read_text(errors='replace')):
                found.add(file.relative_to(root.parent).as_posix())
    assert found <= {
        'mmdet/evaluation/metrics/base_video_metric.py',  # of other processes of the run
        'mmdet/utils/dist_utils.py',
        'mmpretrain/datasets/cifar.py',
        'mmpretrain/models/multimodal/ram/ram.py',
        'mmseg/utils/io.py',
    }
