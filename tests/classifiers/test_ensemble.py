"""The mean of the logits of several classifiers, each with a checkpoint that has to fit."""

from __future__ import annotations

import copy

import pytest
import torch

pytest.importorskip('mmpretrain')
timm = pytest.importorskip('timm')
from mmpretrain.registry import MODELS  # noqa: E402
from mmpretrain.structures import DataSample  # noqa: E402

from mmhyena.apis.weights import load_weights  # noqa: E402
from mmhyena.checkpoints import CheckpointError, revert_official  # noqa: E402

CLASSES = 5
TINY = dict(
    type='ImageClassifier',
    backbone=dict(type='mmhyena.HyenaFormer', arch='hpx_former_tiny', out_indices=(3,), gap_before_final_norm=True),
    head=dict(type='mmhyena.MetaFormerClsHead', num_classes=CLASSES, in_channels=192),
)
TIMM = dict(type='TimmClassifier', model_name='test_convnext', num_classes=CLASSES)


@pytest.fixture
def members(tmp_path) -> list[dict]:
    """A member of ours with an official checkpoint, one of timm with timm's."""
    torch.manual_seed(0)
    torch.save(revert_official(MODELS.build(TINY).state_dict()), tmp_path / 'official.pth')
    torch.save(timm.create_model('test_convnext', num_classes=CLASSES).state_dict(), tmp_path / 'timm.pth')
    files = {'official.pth': TINY, 'timm.pth': TIMM}
    return [
        dict(copy.deepcopy(config), init_cfg=dict(type='Pretrained', checkpoint=str(tmp_path / file)))
        for file, config in files.items()
    ]


def build(members: list[dict], **kwargs):
    model = MODELS.build(dict(type='mmhyena.EnsembleClassifier', members=members, **kwargs))
    model.init_weights()
    return model.eval()


@torch.no_grad()
def test_logits_are_the_mean_of_the_members_with_their_checkpoints(members):
    image = torch.randn(2, 3, 64, 64)
    want = []
    for member in members:
        config = {name: value for name, value in member.items() if name != 'init_cfg'}
        model = MODELS.build(config).eval()
        model.load_state_dict(torch.load(member['init_cfg']['checkpoint'], weights_only=True), strict=False)
        want.append(model(image, mode='tensor'))
    assert not torch.allclose(*want, atol=1e-3)
    torch.testing.assert_close(build(members)(image, mode='tensor'), (want[0] + want[1]) / 2)


@torch.no_grad()
def test_saved_and_loaded_again_it_is_the_same(members):
    image, model = torch.randn(2, 3, 64, 64), build(members)
    other = MODELS.build(dict(type='mmhyena.EnsembleClassifier', members=members)).eval()
    load_weights(other, {'state_dict': model.state_dict()}, 'saved.pth')
    assert torch.equal(other(image), model(image))


def test_weights_that_a_member_renames_are_no_silent_loss(members):
    class Wrapped(torch.nn.Module):
        def __init__(self, classifier: torch.nn.Module) -> None:
            super().__init__()
            self.classifier = classifier

    timm_member = {name: value for name, value in members[1].items() if name != 'init_cfg'}
    model = Wrapped(MODELS.build(timm_member))
    with pytest.raises(CheckpointError, match=r'^saved.pth: \d+ tensors are not taken by a module that renames them'):
        load_weights(model, {'state_dict': model.state_dict()}, 'saved.pth')


def test_predictions_and_losses(members):
    model, image = build(members), torch.randn(2, 3, 64, 64)
    logits = model(image)
    samples = [DataSample().set_gt_label(i) for i in range(2)]
    for sample, scores in zip(model(image, samples, mode='predict'), logits):
        torch.testing.assert_close(sample.pred_score, scores.softmax(0))
    loss = model(image, samples, mode='loss')['loss']
    torch.testing.assert_close(loss, torch.nn.functional.cross_entropy(logits, torch.arange(2)))


def test_building_reads_no_checkpoint(members):
    for member in members:
        member['init_cfg']['checkpoint'] = 'nowhere.pth'
    model = MODELS.build(dict(type='mmhyena.EnsembleClassifier', members=members))
    with pytest.raises(CheckpointError, match=r'nowhere\.pth does not exist'):
        model.init_weights()


def test_a_checkpoint_of_another_model_is_refused(members):
    members[1]['init_cfg'] = members[0]['init_cfg']
    with pytest.raises(CheckpointError, match='does not fit member 1 of the ensemble'):
        build(members)


def test_members_have_to_agree(members):
    members = [TINY, dict(TIMM, num_classes=7)]
    with pytest.raises(ValueError, match=r'different numbers of classes: \[5, 7\]'):
        build(members)(torch.randn(1, 3, 64, 64))
    with pytest.raises(ValueError, match='at least two members, got 1'):
        build(members[:1])
    with pytest.raises(ValueError, match='mode must be'):
        build([TINY, TIMM])(torch.randn(1, 3, 64, 64), mode='train')
