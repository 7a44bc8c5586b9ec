"""Weights into whole models: official classifiers are converted with a report, a poor match is refused."""

from __future__ import annotations

import logging
import pickle
from pathlib import Path

import pytest
import torch
from torch import nn

from mmhyena.apis import UserError, evaluate, load_config, load_weights, use_toolkit
from mmhyena.checkpoints import loading, revert_official
from mmhyena.datasets.shapes import generate_shapes

ROOT = Path(__file__).parents[2]
CLASSIFIER = ROOT / 'configs/shapes/hpx-former-tiny_shapes.py'
SEGMENTOR = ROOT / 'configs/shapes/upernet_hpx-former-tiny_shapes.py'


def build(config: Path, seed: int) -> nn.Module:
    """Return a model of random weights."""
    from mmengine.registry import MODELS

    cfg = load_config(config)
    pytest.importorskip(cfg.default_scope)
    use_toolkit(cfg)
    torch.manual_seed(seed)
    model = MODELS.build(cfg.model)
    for value in model.parameters():
        nn.init.normal_(value, std=0.05)
    return model


@pytest.fixture
def reports(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    lines: list[str] = []
    monkeypatch.setattr(loading, '_log', lambda message, level=logging.INFO: lines.append(message))
    return lines


def test_official_classifier_is_loaded_with_a_report(reports):
    source, model = build(CLASSIFIER, 0), build(CLASSIFIER, 1)
    load_weights(model, {'state_dict': revert_official(source.state_dict())}, 'official.pth')
    for name, value in source.state_dict().items():
        assert torch.equal(model.state_dict()[name], value), name
    (report,) = reports
    assert 'official checkpoint official.pth (state_dict)' in report
    assert 'left out' not in report


def test_official_classifier_is_no_segmentor(reports):
    official = revert_official(build(CLASSIFIER, 0).state_dict())
    with pytest.raises(
        UserError, match=r'official\.pth does not fit .*77 missing \(backbone\.norm0.*official classifier'
    ):
        load_weights(build(SEGMENTOR, 1), official, 'official.pth')


def test_official_classifier_of_other_classes_is_refused(reports):
    official = revert_official(build(CLASSIFIER, 0).state_dict())
    official['head.fc2.weight'], official['head.fc2.bias'] = torch.zeros(7, 768), torch.zeros(7)
    with pytest.raises(UserError, match=r'6 missing \(head\.fc1\.weight.*config of its architecture and classes'):
        load_weights(build(CLASSIFIER, 1), official, 'official.pth')


@pytest.fixture(scope='module')
def shapes(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp('data') / 'shapes'
    generate_shapes(root, train=1, val=1, size=64, cls_train=1, cls_val=12, cls_size=32, seed=0)
    return root


def test_evaluation_of_official_weights_equals_that_of_converted_ones(shapes, tmp_path):
    model = build(CLASSIFIER, 0)
    official = revert_official(model.state_dict())
    # The moving average counts, as it does everywhere; the weights beside it would give another result.
    beside = {name: torch.zeros_like(value) for name, value in official.items()}
    torch.save(dict(state_dict=beside, state_dict_ema=official), tmp_path / 'official.pth')
    torch.save(dict(state_dict=model.state_dict()), tmp_path / 'ours.pth')
    options = {
        'test_dataloader.dataset.data_root': f'{shapes}/classification',
        'test_dataloader.num_workers': 0,
        'test_dataloader.persistent_workers': False,
    }
    scores = {}
    for name in ('official', 'ours'):
        out = tmp_path / f'{name}.pkl'
        evaluate(CLASSIFIER, tmp_path / f'{name}.pth', work_dir=str(tmp_path), out=str(out), cfg_options=options)
        scores[name] = torch.stack([sample['pred_score'] for sample in pickle.loads(out.read_bytes())])
    assert scores['ours'].std() > 0
    assert torch.equal(scores['official'], scores['ours'])
    log = ''.join(file.read_text() for file in tmp_path.glob('*/*.log'))
    assert f'official checkpoint {tmp_path / "official.pth"} (state_dict_ema)' in log
