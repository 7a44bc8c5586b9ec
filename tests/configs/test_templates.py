"""Templates for own data: few lines to edit, and everything else follows from them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mmhyena.__main__ import main
from mmhyena.apis import UserError, load_config
from mmhyena.cli.template import TASKS, fill

ROOT = Path(__file__).parents[2]
CLASSES = ('a', 'b', 'c')


def template(task: str) -> str:
    return (ROOT / f'configs/templates/{task}.py').read_text()


def edited_lines(text: str) -> list[str]:
    return re.search(r'# --- edit from here ---\n(.*?)# --- to here ---', text, re.DOTALL)[1].splitlines()


@pytest.mark.parametrize('task', TASKS)
def test_few_lines_to_edit(task: str):
    lines = edited_lines(template(task))
    assert 0 < len(lines) <= 12
    assert all(re.match(r'\w+ = ', line) for line in lines)


@pytest.mark.parametrize('task', TASKS)
def test_numbers_of_classes_follow(task: str, tmp_path: Path):
    path = tmp_path / 'mine.py'
    assert main(['template', task, str(path), 'classes=(a,b,c)', 'arch=hpx_former_tiny', 'pretrained=None']) == 0
    cfg = load_config(path)
    for split in ('train', 'val', 'test'):
        assert tuple(cfg[f'{split}_dataloader'].dataset.metainfo.classes) == CLASSES
    counts = numbers_of_classes([cfg.model.to_dict(), cfg.get('data_preprocessor')])
    assert len(counts) == dict(detection=2, segmentation=2, classification=2)[task]
    assert set(counts) == {len(CLASSES)}
    assert cfg.model.backbone.init_cfg is None


def numbers_of_classes(node: object) -> list[int]:
    """Return every ``num_classes`` in a tree of dicts and lists."""
    if isinstance(node, dict):
        own = [node['num_classes']] if 'num_classes' in node else []
        return own + numbers_of_classes(list(node.values()))
    if isinstance(node, list | tuple):
        return [count for child in node for count in numbers_of_classes(child)]
    return []


def test_boxes_without_masks(tmp_path: Path):
    path = tmp_path / 'mine.py'
    path.write_text(fill(template('detection'), dict(classes=CLASSES, masks=False)))
    cfg = load_config(path)
    assert cfg.model.type == 'FasterRCNN'
    assert cfg.model.roi_head.mask_head is None
    assert list(cfg.val_evaluator.metric) == ['bbox']


def test_data_that_does_not_exist_is_one_line(tmp_path: Path):
    path = tmp_path / 'mine.py'
    path.write_text(template('detection'))
    with pytest.raises(UserError, match=r'data/mine/annotations/train\.json: it does not exist'):
        load_config(path)


@pytest.mark.parametrize(
    ('arguments', 'culprit'),
    [
        (['mine.py', 'clases=3'], 'did you mean classes?'),
        (['mine.txt'], 'must end in .py'),
        (['there.py'], 'is there already: --force'),
        (['no/mine.py'], 'cannot be written'),
    ],
)
def test_errors_are_one_line(
    arguments: list[str], culprit: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'there.py').touch()
    assert main(['template', 'detection', *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert culprit in line
    assert (tmp_path / 'there.py').read_text() == ''
