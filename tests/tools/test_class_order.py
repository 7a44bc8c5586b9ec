"""Classes in one order in the checkpoint and in another in the data, through the tools: the right value, or one line.

The models predict what the files of the data say, numbered by the classes of the checkpoint. A metric is 100 % exactly
where data set, metric and checkpoint mean the same classes.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from bad_inputs import CONFIGS, ROOT, SCOPES
from mmengine.model import BaseModel
from mmengine.registry import MODELS

from mmhyena.datasets.shapes import CLASSES, generate_shapes

REVERSED = CLASSES[::-1]
SLOW = pytest.mark.slow
pytestmark = pytest.mark.usefixtures('no_loggers')


class _Oracle(BaseModel):
    def __init__(self, classes: list[str], data_preprocessor: dict | None = None) -> None:
        super().__init__()  # images stay as they are
        self.classes = list(classes)
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def forward(self, inputs, data_samples=None, mode='tensor'):
        if mode == 'loss':
            return dict(loss=self.weight.sum())
        for sample in data_samples:
            self.predict(sample, Path(sample.img_path))
        return data_samples


@MODELS.register_module()
class OracleDetector(_Oracle):
    """Finds the objects of the validation set's file."""

    def predict(self, sample, path):
        from mmengine.structures import InstanceData

        data = json.loads((path.parents[1] / 'annotations/instances_val.json').read_text())
        names = {category['id']: category['name'] for category in data['categories']}
        number = next(image['id'] for image in data['images'] if image['file_name'] == path.name)
        found = [entry for entry in data['annotations'] if entry['image_id'] == number]
        boxes = torch.tensor([entry['bbox'] for entry in found], dtype=torch.float32).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        labels = torch.tensor([self.classes.index(names[entry['category_id']]) for entry in found])
        sample.pred_instances = InstanceData(bboxes=boxes, labels=labels, scores=torch.ones(len(found)))


@MODELS.register_module()
class OracleClassifier(_Oracle):
    """Knows the class by the folder."""

    def predict(self, sample, path):
        scores = torch.zeros(len(self.classes))
        scores[self.classes.index(path.parent.name)] = 1.0
        sample.set_pred_score(scores).set_pred_label(scores.argmax())


ORACLES = dict(det='OracleDetector', cls='OracleClassifier')


@pytest.fixture(scope='module')
def generated(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp('data') / 'shapes'
    generate_shapes(root, train=4, val=4, size=64, cls_train=2, cls_val=2, cls_size=32, seed=0)
    return root


@pytest.fixture
def shapes(generated, tmp_path) -> Path:
    return Path(shutil.copytree(generated, tmp_path / 'shapes'))


def change_val(shapes: Path, change: Callable[[dict], None]) -> None:
    file = shapes / 'annotations/instances_val.json'
    data = json.loads(file.read_text())
    change(data)
    file.write_text(json.dumps(data))


def reverse_categories(data: dict) -> None:
    data['categories'].reverse()


def renumber_categories(data: dict) -> None:
    """Ids in another order, too."""
    data['categories'].reverse()
    ids = {category['id']: i for i, category in enumerate(data['categories'], 11)}
    for category in data['categories']:
        category['id'] = ids[category['id']]
    for entry in data['annotations']:
        entry['category_id'] = ids[entry['category_id']]


def renumber_alone(data: dict) -> None:
    """Ids that fall along the list."""
    renumber_categories(data)
    data['categories'].reverse()


def options(shapes: Path, task: str) -> list[str]:
    pytest.importorskip(SCOPES[task])
    root = f'{shapes}/classification' if task == 'cls' else f'{shapes}/'
    words = []
    for split in ('train', 'val', 'test'):
        words += [f'{split}_dataloader.num_workers=0', f'{split}_dataloader.dataset.data_root={root}']
        words += [f'{split}_dataloader.batch_size=2']
    if task == 'det':
        for split in ('val', 'test'):
            words += [f'{split}_evaluator.ann_file={root}annotations/instances_val.json']
            words += [f'{split}_evaluator.metric=bbox', f'{split}_evaluator.classwise=True']
    return words


def run(name: str, *arguments: str) -> int:
    spec = importlib.util.spec_from_file_location(f'order_{name}', ROOT / f'tools/{name}.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main(list(arguments))


def evaluate(shapes: Path, tmp_path: Path, task: str, classes: tuple[str, ...], *more: str) -> tuple[int, dict]:
    """Test an oracle whose checkpoint has ``classes``; return the exit code and the metrics."""
    config, file, out = tmp_path / 'config.py', tmp_path / 'oracle.pth', tmp_path / 'metrics.json'
    model = f'model = dict(_delete_=True, type={ORACLES[task]!r}, classes={list(classes)!r})' if task in ORACLES else ''
    config.write_text(f'_base_ = [{str(ROOT / CONFIGS[task])!r}]\n{model}\n')
    torch.save(dict(state_dict=dict(weight=torch.zeros(1)), meta=dict(dataset_meta=dict(classes=classes))), file)
    words = ['--work-dir', str(tmp_path / 'work'), '--out', str(out), '--cfg-options', *options(shapes, task), *more]
    code = run('test', str(config), str(file), *words)
    return code, json.loads(out.read_text()) if code == 0 else {}


def the_line(capsys) -> str:
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith('error: ')]
    assert len(lines) == 1
    return lines[0]


def perfect(metrics: dict) -> bool:
    present = {
        key: value for key, value in metrics.items() if value >= 0 and value == value
    }  # -1, nan: no such objects
    chosen = {key: value for key, value in present.items() if key.endswith(('bbox_mAP', '_precision', 'accuracy/top1'))}
    return bool(chosen) and all(value in (1.0, 100.0) for value in chosen.values())


@pytest.mark.parametrize('task', ['det', 'cls'])
def test_oracles_are_perfect(task, shapes, tmp_path):
    assert perfect(evaluate(shapes, tmp_path, task, CLASSES)[1])


@pytest.mark.parametrize('change', [reverse_categories, renumber_categories, renumber_alone])
def test_validation_file_with_categories_in_another_order(change, shapes, tmp_path):
    change_val(shapes, change)
    code, metrics = evaluate(shapes, tmp_path, 'det', CLASSES)
    assert code == 0 and perfect(metrics), metrics


def test_one_wrong_class_shows_under_its_own_name(shapes, tmp_path, monkeypatch):
    """pycocotools sorts category ids, and mmdet takes the results of single classes in the order of the file."""
    change_val(shapes, renumber_alone)
    right = OracleDetector.predict

    def predict(self, sample, path):
        right(self, sample, path)
        sample.pred_instances = sample.pred_instances[sample.pred_instances.labels != 0]

    monkeypatch.setattr(OracleDetector, 'predict', predict)
    _, metrics = evaluate(shapes, tmp_path, 'det', CLASSES)
    values = {name: metrics[f'coco/{name}_precision'] for name in CLASSES if f'coco/{name}_precision' in metrics}
    assert values[CLASSES[0]] == 0
    assert all(value == 1 or value != value for name, value in values.items() if name != CLASSES[0])


def test_training_validates_by_name(shapes, tmp_path, capfd):
    change_val(shapes, reverse_categories)
    config = tmp_path / 'config.py'
    config.write_text(
        f'_base_ = [{str(ROOT / CONFIGS["det"])!r}]\n'
        f"model = dict(_delete_=True, type='OracleDetector', classes={list(CLASSES)!r})\n"
        'train_cfg = dict(max_epochs=1, val_interval=1)\nparam_scheduler = None\n'
    )
    words = ['--work-dir', str(tmp_path / 'work'), '--cfg-options', *options(shapes, 'det')]
    assert run('train', str(config), *words) == 0
    log = ''.join(capfd.readouterr())
    assert 'numbered by name' in log
    assert 'coco/bbox_mAP: 1.0000' in log


def test_checkpoint_of_a_detector_in_another_order(shapes, tmp_path, capsys):
    code, _ = evaluate(shapes, tmp_path, 'det', REVERSED)
    line = the_line(capsys)
    assert code == 2
    assert 'classes in another order' in line and 'test_dataloader.dataset.metainfo.classes' in line
    # What the line says to do gives the right value.
    setting = f'test_dataloader.dataset.metainfo.classes={tuple(REVERSED)}'
    code, metrics = evaluate(shapes, tmp_path, 'det', REVERSED, setting)
    assert code == 0 and perfect(metrics), metrics


def test_checkpoint_of_a_classifier_in_another_order(shapes, tmp_path):
    code, metrics = evaluate(shapes, tmp_path, 'cls', REVERSED)
    assert code == 0 and perfect(metrics), metrics


def test_checkpoint_of_a_segmentor_in_another_order(shapes, tmp_path, capsys):
    """Names in metainfo would not change what the label maps say."""
    code, _ = evaluate(shapes, tmp_path, 'seg', ('background', *REVERSED))
    line = the_line(capsys)
    assert code == 2
    assert 'classes in another order' in line and 'label maps' in line


def relative(file: Path) -> str:
    return os.path.relpath(file)


def linked(file: Path) -> str:
    link = file.parent / 'link.json'
    link.symlink_to(file)
    return str(link)


def through_a_linked_folder(file: Path) -> str:
    link = file.parents[1] / 'elsewhere'
    link.symlink_to(file.parent)
    return str(link / file.name)


def copied(file: Path) -> str:
    return str(shutil.copy(file, file.parent / 'copy.json'))


def formatted(file: Path) -> str:
    copy = file.parent / 'copy.json'
    copy.write_text(json.dumps(json.loads(file.read_text()), indent=2, sort_keys=True))
    return str(copy)


@pytest.mark.parametrize(
    'path',
    [relative, linked, pytest.param(through_a_linked_folder, marks=SLOW), pytest.param(copied, marks=SLOW), formatted],
)
def test_evaluator_reads_the_same_file_by_another_path(path, shapes, tmp_path):
    other = path(shapes / 'annotations/instances_val.json')
    code, metrics = evaluate(shapes, tmp_path, 'det', CLASSES, f'test_evaluator.ann_file={other}')
    assert code == 0 and perfect(metrics), metrics


def fewer_images(data: dict) -> None:
    removed = data['images'].pop()['id']
    data['annotations'] = [entry for entry in data['annotations'] if entry['image_id'] != removed]


def moved_box(data: dict) -> None:
    data['annotations'][0]['bbox'][0] += 3


def fewer_objects(data: dict) -> None:
    data['annotations'].pop()


@pytest.mark.parametrize(
    'change',
    [pytest.param(fewer_images, marks=SLOW), moved_box, pytest.param(fewer_objects, marks=SLOW), reverse_categories],
)
def test_evaluator_reads_another_file(change, shapes, tmp_path, capsys):
    data = json.loads((shapes / 'annotations/instances_val.json').read_text())
    change(data)
    other = shapes / 'annotations/other.json'
    other.write_text(json.dumps(data))
    code, _ = evaluate(shapes, tmp_path, 'det', CLASSES, f'test_evaluator.ann_file={other}')
    line = the_line(capsys)
    assert code == 2
    assert str(other) in line and f'set test_evaluator.ann_file={shapes}/annotations/instances_val.json' in line


def test_evaluator_reads_the_training_file(shapes, tmp_path, capsys):
    other = shapes / 'annotations/instances_train.json'
    assert evaluate(shapes, tmp_path, 'det', CLASSES, f'test_evaluator.ann_file={other}')[0] == 2
    assert str(other) in the_line(capsys)
