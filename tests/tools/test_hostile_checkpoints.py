"""Hostile and broken checkpoints by every way that one gets into a tool: one line that names the file, no code runs."""

from __future__ import annotations

import importlib.util
import itertools
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
import torch
from hostile_files import HOSTILE

from mmhyena.datasets.shapes import generate_shapes
from mmhyena.utils.cli import run_cli

ROOT = Path(__file__).parents[2]
CONFIGS = {
    'mmdet': ROOT / 'configs/shapes/mask-rcnn_hpx-former-tiny_fpn_shapes.py',
    'mmseg': ROOT / 'configs/shapes/upernet_hpx-former-tiny_shapes.py',
    'mmpretrain': ROOT / 'configs/shapes/hpx-former-tiny_shapes.py',
}
CLASSIFIER = str(CONFIGS['mmpretrain'])
ADVICE = ('weights_only', 'safe_globals', 'trust')
FILE = 'FILE'
pytestmark = pytest.mark.usefixtures('no_loggers')


@dataclass(frozen=True)
class Place:
    """Where a run finds its data and writes."""

    data: Path
    work_dir: Path

    def options(self, scope: str) -> list[str]:
        """Overrides that point a Shapes config to the data."""
        root = f'{self.data}/classification' if scope == 'mmpretrain' else f'{self.data}/'
        options = []
        for split in ('train', 'val', 'test'):
            options += [f'{split}_dataloader.num_workers=0', f'{split}_dataloader.dataset.data_root={root}']
        if scope == 'mmdet':
            options += [f'{split}_evaluator.ann_file={root}annotations/instances_val.json' for split in ('val', 'test')]
        return options


def tool(path: str, *args: str) -> int:
    """Run a tool in this process."""
    spec = importlib.util.spec_from_file_location(f'tool_{Path(path).stem}', ROOT / path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main(list(args))


# ---------------------------------------------------------------------------------------------------------------- ways

Way = Callable[[Place, str], int]


def train(scope: str, *options: str, args: Sequence[str] = ()) -> Way:
    """Return a way through tools/train.py; FILE stands for the checkpoint."""

    def run(place: Place, file: str) -> int:
        pytest.importorskip(scope)
        words = [word.replace(FILE, file) for word in args]
        overrides = [*place.options(scope), *(option.replace(FILE, file) for option in options)]
        command = [str(CONFIGS[scope]), '--work-dir', str(place.work_dir), *words, '--cfg-options', *overrides]
        return tool('tools/train.py', *command)

    return run


def init_cfg(scope: str, part: str) -> Way:
    return train(scope, f"{part}={{'type': 'Pretrained', 'checkpoint': '{FILE}'}}")


def pointer(place: Place, file: str) -> int:
    (place.work_dir / 'last_checkpoint').write_text(file)
    return train('mmpretrain', args=['--resume'])(place, file)


def work_dir(place: Place, file: str) -> int:
    copy = shutil.copytree if Path(file).is_dir() else shutil.copy
    copy(file, place.work_dir / 'epoch_1.pth')
    return train('mmpretrain', args=['--resume'])(place, file)


def queue(place: Place, file: str) -> int:
    shutil.copy(file, place.work_dir / 'queue.pth')
    return train('mmpretrain', 'custom_hooks=[dict(type="SwAVHook",batch_size=1)]')(place, file)


def model_of_parts(place: Place, file: str, model: str) -> int:
    """Train another model than the config's."""
    config = place.work_dir / 'config.py'
    config.write_text(f'_base_ = [{CLASSIFIER!r}]\n' + model.replace(FILE, repr(file)))
    arguments = ['--work-dir', str(place.work_dir), '--cfg-options', *place.options('mmpretrain')]
    return tool('tools/train.py', str(config), *arguments)


ENSEMBLE = f"""
model = dict(_delete_=True, type='mmhyena.EnsembleClassifier', members=[
    dict(type='TimmClassifier', model_name='resnet10t', num_classes=5,
         init_cfg=dict(type='Pretrained', checkpoint={FILE})),
    dict(type='TimmClassifier', model_name='resnet10t', num_classes=5),
])
"""
TIMM_BACKBONE = f"""
model = dict(backbone=dict(_delete_=True, type='mmhyena.TimmBackbone', model_name='convformer_s18', out_indices=(3,),
             init_cfg=dict(type='Pretrained', checkpoint={FILE})))
"""
TIMM_PATH = f"""
model = dict(_delete_=True, type='TimmClassifier', model_name='resnet10t', num_classes=5, checkpoint_path={FILE})
"""


def evaluate(place: Place, file: str) -> int:
    arguments = [CLASSIFIER, file, '--work-dir', str(place.work_dir), '--cfg-options', *place.options('mmpretrain')]
    return tool('tools/test.py', *arguments)


def demo(place: Place, file: str) -> int:
    return tool('demo/image_demo.py', str(place.data / 'val'), CLASSIFIER, file, '--out-dir', str(place.work_dir))


def inferencer(place: Place, file: str) -> int:
    from mmhyena.apis import Inferencer

    return run_cli(lambda: Inferencer(CLASSIFIER, file, device='cpu'))


def model_index(place: Place, file: str) -> int:
    from mmhyena.apis.model_index import IndexedModel, read_weights
    from mmhyena.apis.weights import load_weights

    entry = IndexedModel('indexed', Path(CLASSIFIER), weights=file)
    return run_cli(lambda: load_weights(torch.nn.Linear(1, 1), read_weights(entry), file))


def converter(place: Place, file: str, *args: str) -> int:
    return tool('tools/model_converters/official_to_mmhyena.py', file, str(place.work_dir / 'out.pth'), *args)


def kernels(place: Place, file: str) -> int:
    out = str(place.work_dir / 'kernels.png')
    return tool('tools/analysis_tools/visualize_kernels.py', CLASSIFIER, file, '--out', out)


def receptive_field(place: Place, file: str) -> int:
    arguments = ['--images', str(place.data / 'val'), '--out', str(place.work_dir / 'erf.png')]
    return tool('tools/analysis_tools/visualize_erf.py', CLASSIFIER, file, *arguments)


def reach(place: Place, file: str) -> int:
    options = [f'work_dir={place.work_dir}', *place.options('mmpretrain')]
    out = str(place.work_dir / 'reach.csv')
    return tool('tools/analysis_tools/ablate_reach.py', CLASSIFIER, file, '--out', out, '--cfg-options', *options)


def resolution(place: Place, file: str) -> int:
    return tool('tools/analysis_tools/ablate_resolution.py', CLASSIFIER, file, '--out', str(place.work_dir / 'out.csv'))


def features(place: Place, file: str) -> int:
    arguments = [str(place.data / 'val'), '--out-dir', str(place.work_dir)]
    return tool('tools/analysis_tools/visualize_features.py', CLASSIFIER, file, *arguments)


def export(place: Place, file: str) -> int:
    out = str(place.work_dir / 'model.pt2')
    return tool('tools/deployment/export.py', CLASSIFIER, file, '--out', out, '--shape', '64', '64')


WAYS: dict[str, Way] = {
    'load_from': train('mmpretrain', f'load_from={FILE}'),
    'resume=True': train('mmpretrain', 'resume=True', f'load_from={FILE}'),
    '--resume FILE': train('mmpretrain', args=['--resume', FILE]),
    'last_checkpoint': pointer,
    'work dir': work_dir,
    'pretrained': train('mmpretrain', f'model.pretrained={FILE}'),
    'pretrained of a segmentor': train('mmseg', f'model.pretrained={FILE}'),
    'init_cfg of a backbone': init_cfg('mmpretrain', 'model.backbone.init_cfg'),
    'init_cfg of a backbone of timm': partial(model_of_parts, model=TIMM_BACKBONE),
    'init_cfg of a model': init_cfg('mmpretrain', 'model.init_cfg'),
    'init_cfg of a neck': init_cfg('mmdet', 'model.neck.init_cfg'),
    'init_cfg of a head': init_cfg('mmpretrain', 'model.head.init_cfg'),
    'init_cfg of a detection head': init_cfg('mmdet', 'model.rpn_head.init_cfg'),
    'init_cfg of a member': partial(model_of_parts, model=ENSEMBLE),
    'queue of SwAV': queue,
    'checkpoint_path of timm': partial(model_of_parts, model=TIMM_PATH),
    'test.py': evaluate,
    'image_demo.py': demo,
    'Inferencer': inferencer,
    'model index': model_index,
    'official_to_mmhyena.py': converter,
    'official_to_mmhyena.py --reverse': lambda place, file: converter(place, file, '--reverse'),
    'visualize_kernels.py': kernels,
    'visualize_erf.py': receptive_field,
    'ablate_reach.py': reach,
    'ablate_resolution.py': resolution,
    'visualize_features.py': features,
    'export.py': export,
}
RESUMING = ('resume=True', '--resume FILE', 'last_checkpoint', 'work dir')
FOLDER = ('last_checkpoint', 'work dir', 'queue of SwAV')  # which name what is there
OWN_NAME = {'work dir': 'epoch_1.pth', 'queue of SwAV': 'queue.pth'}  # of the copy in the work directory
NO_MODEL = ('queue of SwAV',)

# --------------------------------------------------------------------------------------------------------------- files


def hostile(kind: str, name: str = 'hostile.pth') -> Callable[[Path], str]:
    def make(folder: Path) -> str:
        HOSTILE[kind](folder / name, folder / 'marker')
        return str(folder / name)

    return make


def save(content: object, cut: int = 0) -> Callable[[Path], str]:
    def make(folder: Path) -> str:
        file = folder / 'broken.pth'
        torch.save(content, file)
        file.write_bytes(file.read_bytes()[: file.stat().st_size - cut])
        return str(file)

    return make


def write(content: bytes) -> Callable[[Path], str]:
    def make(folder: Path) -> str:
        (folder / 'broken.pth').write_bytes(content)
        return str(folder / 'broken.pth')

    return make


def folder_of_that_name(folder: Path) -> str:
    (folder / 'broken.pth').mkdir()
    return str(folder / 'broken.pth')


def shards_of_deepspeed(folder: Path) -> str:
    (folder / 'broken.pth').mkdir()
    HOSTILE['state_dict'](folder / 'broken.pth/mp_rank_00_model_states.pt', folder / 'marker')
    return str(folder / 'broken.pth')


def training_state(state: object, meta: object = None) -> dict[str, object]:
    return dict(
        state_dict=state, optimizer={}, message_hub={}, meta=dict(epoch=1, iter=2, seed=0) if meta is None else meta
    )


WEIGHTS = {'backbone.a': torch.ones(100)}
FILES: dict[str, Callable[[Path], str]] = {
    'os.system': hostile('state_dict'),
    'os.system, legacy': hostile('legacy'),
    'getattr': hostile('getattr'),
    'pickle': hostile('plain_pickle'),
    'pickle named safetensors': hostile('plain_pickle', 'hostile.safetensors'),
    'archive named safetensors': hostile('in_meta', 'hostile.safetensors'),
    'empty': write(b''),
    'web page': write(b'<!DOCTYPE html><html><body>404</body></html>'),
    'text': write(b'no weights'),
    'truncated': save(training_state(WEIGHTS), cut=50),
    'folder': folder_of_that_name,
    'shards of DeepSpeed': shards_of_deepspeed,
    'missing': lambda folder: str(folder / 'missing.pth'),
    'refused': lambda folder: 'http://127.0.0.1:9/x.pth',
    'meta is no dict': save(training_state(WEIGHTS, meta='x')),
    'no tensors': save(training_state({'backbone.a': 'x'})),
    'numbers': save({'a': 1, 'b': [2]}),
    'list': save([torch.ones(1)]),
    'other model': save(training_state(WEIGHTS)),
}
NOT_THERE = ('missing', 'refused')
OTHER_CONTENT = ('folder', 'shards of DeepSpeed', 'meta is no dict', 'no tensors', 'numbers', 'list', 'other model')


def combinations() -> list:
    """Every way with two files that differ from way to way; the other combinations are slow."""
    names = itertools.cycle(FILES)
    chosen = {(way, next(names)) for _ in range(2) for way in WAYS}
    pairs = itertools.product(WAYS, FILES)
    return [
        pytest.param(way, file, marks=() if (way, file) in chosen else pytest.mark.slow)
        for way, file in pairs
        # A folder without a checkpoint is where a run starts anew.
        if not (way in FOLDER and file in NOT_THERE) and not (way in NO_MODEL and file in OTHER_CONTENT)
    ]


@pytest.fixture(scope='module')
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp('data') / 'shapes'
    generate_shapes(root, train=1, val=1, size=64, cls_train=1, cls_val=1, cls_size=32, seed=0)
    return root


@pytest.mark.parametrize(('way', 'file'), combinations())
def test_one_line_and_no_code(
    way: str, file: str, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path / 'hub'))
    place = Place(data, tmp_path / 'run')
    place.work_dir.mkdir()
    source = FILES[file](tmp_path)
    code = WAYS[way](place, source)
    assert not (tmp_path / 'marker').exists(), 'the code of the file was executed'
    out, err = capsys.readouterr()
    assert code == 2
    assert err.startswith('error: ') and err.count('\n') == 1
    assert (str(place.work_dir / OWN_NAME[way]) if way in OWN_NAME else source) in err
    own_words = (out + err).replace(str(ROOT), '')  # a checkout may lie anywhere
    assert not any(advice in own_words for advice in ADVICE)
    assert 'Epoch(train)' not in out
