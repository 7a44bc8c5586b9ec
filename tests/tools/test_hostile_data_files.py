"""Hostile data files by every way that one gets into a tool: one line that names the file, no code runs."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path

import mmengine
import numpy as np
import pytest
from bad_inputs import CONFIGS, ROOT, assert_one_line, on, run_train
from mmengine.structures import InstanceData

from mmhyena.cli.tool import main as run_tool
from mmhyena.datasets.shapes import SEG_CLASSES
from mmhyena.testing.trees import write_tiny

pytestmark = pytest.mark.usefixtures('no_loggers')


class Hostile:
    """An object whose unpickling leaves a marker."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple:
        return os.system, (f'touch {self.marker}',)


def proposals(tools, shapes, tmp_path, file: str) -> int:
    return run_train(tools, shapes, 'det', tmp_path, f'train_dataloader.dataset.proposal_file={file}')


def annotations(tools, shapes, tmp_path, file: str) -> int:
    dataset = f'train_dataloader.dataset={{"_delete_": True, "type": "BaseDetDataset", "ann_file": "{file}"}}'
    return run_train(tools, shapes, 'det', tmp_path, dataset)


def class_weight(tools, shapes, tmp_path, file: str) -> int:
    return run_train(tools, shapes, 'seg', tmp_path, f'model.decode_head.loss_decode.class_weight={file}')


def config(tools, shapes, tmp_path, file: str) -> int:
    return tools['train']([file, '--work-dir', str(tmp_path)])


def predictions(tools, shapes, tmp_path, file: str) -> int:
    pytest.importorskip('mmdet')
    return run_tool(
        ['mmdet', 'analysis_tools/eval_metric', str(ROOT / CONFIGS['det']), file, '--cfg-options', *on(shapes, 'det')]
    )


WAYS: dict[str, tuple[Callable[..., int], str]] = {
    'proposals': (proposals, 'pkl'),
    'annotations': (annotations, 'pkl'),
    'annotations in YAML': (annotations, 'yaml'),
    'class weights': (class_weight, 'pkl'),
    'class weights in YAML': (class_weight, 'yml'),
    'config in YAML': (config, 'yaml'),
    'predictions': (predictions, 'pkl'),
}


@pytest.mark.parametrize('way', WAYS)
def test_one_line_and_no_code(way, tools, shapes, tmp_path, capsys):
    run, suffix = WAYS[way]
    file, marker = tmp_path / f'data.{suffix}', tmp_path / 'marker'
    if suffix == 'pkl':
        file.write_bytes(pickle.dumps({'a': Hostile(marker)}))
    else:
        file.write_text(f'a: !!python/object/apply:os.system ["touch {marker}"]\n')
    code = run(tools, shapes, tmp_path, str(file))
    assert not marker.exists(), 'the code of the file was executed'
    assert_one_line(code, capsys.readouterr().err, str(file), 'could run code')


def test_batches_of_cifar(tools, tmp_path, capsys):
    pytest.importorskip('mmpretrain')
    root = write_tiny(tmp_path, num=1, only=['cifar10'])['cifar10']
    file, marker = root / 'cifar-10-batches-py/data_batch_2', tmp_path / 'marker'
    file.write_bytes(pickle.dumps({'data': Hostile(marker), 'labels': []}, 2))
    config = str(ROOT / 'configs/hyena_vit/hyena-vit-tiny_1xb128_cifar10.py')
    code = tools['check']([config, '--cfg-options', f'train_dataloader.dataset.data_root={root}'])
    assert not marker.exists()
    assert_one_line(code, capsys.readouterr().err, str(file), 'could run code')


def test_proposals_of_mmdet_are_read(shapes, tmp_path):
    pytest.importorskip('mmdet')
    from mmdet.datasets import CocoDataset

    images = sorted((shapes / 'train').iterdir())
    found = {f'train/{image.name}': InstanceData(bboxes=np.ones((1, 4)), scores=np.ones(1)) for image in images}
    mmengine.dump(found, tmp_path / 'proposals.pkl')
    dataset = CocoDataset(
        ann_file=str(shapes / 'annotations/instances_train.json'),
        data_prefix=dict(img=f'{shapes}/train'),
        proposal_file=str(tmp_path / 'proposals.pkl'),
        pipeline=[],
    )
    assert len(dataset) == len(images)
    assert dataset.get_data_info(0)['proposals'].bboxes.shape == (1, 4)


def test_class_weights_are_used(tools, shapes, tmp_path):
    mmengine.dump([1.0] * len(SEG_CLASSES), tmp_path / 'weights.pkl')
    weights = f'model.decode_head.loss_decode.class_weight={tmp_path / "weights.pkl"}'
    assert run_train(tools, shapes, 'seg', tmp_path, weights) == 0
