"""Checkpoints are read as weights only, whatever wraps them."""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path

import pytest
import torch
from mmengine.logging import MessageHub
from mmengine.utils import digit_version

from mmhyena.checkpoints import CheckpointError, read_checkpoint, unwrap

STATE = {'a.weight': torch.ones(2), 'b.bias': torch.zeros(1)}


class Payload:
    """Leaves a trace when it is unpickled."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple:
        return Path.touch, (self.file,)


def save(folder: Path, content: object) -> Path:
    torch.save(content, folder / 'weights.pth')
    return folder / 'weights.pth'


def test_no_code_runs(tmp_path: Path):
    source = save(tmp_path, {'state_dict': STATE, 'payload': Payload(tmp_path / 'trace')})
    with pytest.raises(CheckpointError, match=r'weights\.pth cannot be read as weights'):
        read_checkpoint(source)
    assert not (tmp_path / 'trace').exists()
    torch.load(source, weights_only=False)
    assert (tmp_path / 'trace').exists(), 'the payload would have worked'


def test_arguments_of_timm_and_records_of_mmengine_are_read(tmp_path: Path):
    hub = MessageHub('reading')
    hub.update_scalar('loss', 0.5)
    beside = {'message_hub': hub.state_dict(), 'param_schedulers': [{'milestones': Counter([8, 11])}]}
    source = save(tmp_path, {'state_dict': STATE, 'args': argparse.Namespace(model='x', lr=0.1), **beside})
    found = read_checkpoint(source)
    assert found['args'].lr == 0.1 and found['param_schedulers'][0]['milestones'] == {8: 1, 11: 1}


@pytest.mark.skipif(
    digit_version(torch.__version__) < digit_version('2.6'), reason='older torch allows no class beside the weights'
)
def test_every_load_is_weights_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    source, calls = save(tmp_path, STATE), []
    load = torch.load
    monkeypatch.setattr(torch, 'load', lambda *args, **kwargs: calls.append(kwargs) or load(*args, **kwargs))
    read_checkpoint(source)
    assert [call['weights_only'] for call in calls] == [True]


def test_urls_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    served = tmp_path / 'served'
    served.mkdir()
    save(served, STATE)
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path / 'hub'))
    downloads = []

    def download(url: str, file: str, progress: bool) -> None:
        downloads.append(url)
        Path(file).write_bytes((served / 'weights.pth').read_bytes())

    monkeypatch.setattr(torch.hub, 'download_url_to_file', download)
    for _ in range(2):
        state = read_checkpoint('https://example.org/files/weights.pth?download=true')
        assert torch.equal(state['a.weight'], STATE['a.weight'])
    assert downloads == ['https://example.org/files/weights.pth?download=true']


def test_unreachable_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def refuse(*args: object, **kwargs: object) -> None:
        raise OSError('no route')

    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path))
    monkeypatch.setattr(torch.hub, 'download_url_to_file', refuse)
    with pytest.raises(CheckpointError, match='cannot be downloaded: no route'):
        read_checkpoint('https://example.org/weights.pth')


@pytest.mark.parametrize(
    ('content', 'message'), [(b'', 'cannot be read'), (b'no checkpoint at all', 'cannot be read'), (None, 'not exist')]
)
def test_bad_files(tmp_path: Path, content: bytes | None, message: str):
    file = tmp_path / 'weights.pth'
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(CheckpointError, match=message) as error:
        read_checkpoint(file)
    assert str(file) in str(error.value) and '\n' not in str(error.value)


def test_list_is_no_checkpoint(tmp_path: Path):
    with pytest.raises(CheckpointError, match='holds a list'):
        read_checkpoint(save(tmp_path, [torch.ones(1)]))


@pytest.mark.parametrize('wrapper', [None, 'state_dict', 'model', 'state_dict_ema', 'model_ema'])
@pytest.mark.parametrize('prefix', ['', 'module.'])
def test_unwrap(wrapper: str | None, prefix: str):
    state = {prefix + name: value for name, value in STATE.items()}
    unwrapped, origin = unwrap(state if wrapper is None else {wrapper: state, 'epoch': 3})
    assert unwrapped.keys() == STATE.keys()
    assert origin == (wrapper or 'the file itself')


@pytest.mark.parametrize(('weights', 'expected'), [('auto', 2.0), ('ema', 2.0), ('model', 1.0)])
def test_choice_of_the_moving_average(weights: str, expected: float):
    checkpoint = {'state_dict': STATE, 'state_dict_ema': {name: value + 1 for name, value in STATE.items()}}
    assert unwrap(checkpoint, weights)[0]['a.weight'][0] == expected


def test_missing_moving_average():
    with pytest.raises(CheckpointError, match='no state_dict_ema or model_ema'):
        unwrap({'state_dict': STATE}, 'ema')


@pytest.mark.parametrize('checkpoint', [{}, {'epoch': 3}, {'state_dict': {}}, {'state_dict': {'a': 1}}])
def test_nothing_to_unwrap(checkpoint: dict):
    with pytest.raises(CheckpointError, match='no state dict'):
        unwrap(checkpoint)
