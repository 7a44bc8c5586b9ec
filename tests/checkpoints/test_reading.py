"""Checkpoints are read as weights alone, from files of several formats."""

from __future__ import annotations

import argparse
import pickle
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.logging import MessageHub
from mmengine.runner.checkpoint import CheckpointLoader, load_checkpoint
from mmengine.utils import digit_version

from mmhyena.checkpoints import CheckpointError, read_checkpoint, reading

STATE = {'a.weight': torch.ones(2), 'b.bias': torch.zeros(1)}


def save(folder: Path, content: object) -> Path:
    torch.save(content, folder / 'weights.pth')
    return folder / 'weights.pth'


def old_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read as torch before 2.6 has to."""
    monkeypatch.setattr(reading, '_has_safe_globals', lambda: False)


READERS = [lambda monkeypatch: None, old_torch]


@pytest.fixture(params=READERS, ids=['current', 'old'])
def _both_readers(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    request.param(monkeypatch)


@pytest.mark.usefixtures('_both_readers')
def test_no_code_runs(hostile: Path):
    with pytest.raises(CheckpointError, match=r'hostile\.pth cannot be read') as error:
        read_checkpoint(hostile)
    message = str(error.value)
    assert '\n' not in message and len(message) < 400 + len(str(hostile))
    assert 'weights_only' not in message and 'safe_globals' not in message, 'advice to switch the protection off'


def test_the_files_would_work_without_protection(tmp_path: Path):
    torch.save({'x': _Touch(tmp_path / 'marker')}, tmp_path / 'hostile.pth')
    torch.load(tmp_path / 'hostile.pth', weights_only=False)
    assert (tmp_path / 'marker').exists()


class _Touch:
    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple:
        return Path.touch, (self.file,)


@pytest.mark.parametrize('name', ['_statistics_methods', '__getattribute__', '__init__', 'register_statistics'])
def test_history_gives_its_statistics_alone(name: str):
    from mmengine.logging import HistoryBuffer

    assert reading._history_method(HistoryBuffer, 'mean') is HistoryBuffer.mean
    for owner, attribute in ((HistoryBuffer, name), (str, 'join')):
        with pytest.raises(pickle.UnpicklingError):
            reading._history_method(owner, attribute)


def test_mmengine_reads_by_the_same_reader(hostile: Path):
    with pytest.raises(CheckpointError, match='cannot be read'):
        CheckpointLoader.load_checkpoint(str(hostile))
    with pytest.raises(CheckpointError, match='cannot be read'):
        load_checkpoint(torch.nn.Linear(1, 1), str(hostile))


@pytest.mark.usefixtures('_both_readers')
def test_what_timm_and_mmengine_put_beside_the_weights_is_read(tmp_path: Path):
    hub = MessageHub('reading')
    hub.update_scalar('loss', 0.5)
    beside = {'message_hub': hub.state_dict(), 'param_schedulers': [{'milestones': Counter([8, 11])}]}
    meta = dict(random=random.getstate(), numpy=np.random.default_rng(0).integers(9, size=5, dtype=np.uint32))
    source = save(tmp_path, {'state_dict': STATE, 'args': argparse.Namespace(lr=0.1), 'meta': meta, **beside})
    found = read_checkpoint(source)
    assert found['args'].lr == 0.1 and found['param_schedulers'][0]['milestones'] == {8: 1, 11: 1}
    assert found['message_hub']['log_scalars']['loss'].current() == 0.5
    np.testing.assert_array_equal(found['meta']['numpy'], meta['numpy'])
    assert found['meta']['random'] == meta['random']


@pytest.mark.usefixtures('_both_readers')
@pytest.mark.parametrize('zipped', [True, False])
def test_tensors_of_many_kinds(zipped: bool, tmp_path: Path):
    state = {
        str(dtype): torch.ones(3, dtype=dtype) for dtype in (torch.float16, torch.bfloat16, torch.int8, torch.bool)
    }
    state['parameter'] = torch.nn.Parameter(torch.ones(2, 3).t())
    torch.save(state, tmp_path / 'weights.pth', _use_new_zipfile_serialization=zipped)
    found = read_checkpoint(tmp_path / 'weights.pth')
    assert all(torch.equal(found[name], value) for name, value in state.items())


@pytest.mark.skipif(
    digit_version(torch.__version__) < digit_version('2.6'), reason='older torch allows no class beside the weights'
)
def test_every_load_is_weights_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    source, calls = save(tmp_path, STATE), []
    load = torch.load
    monkeypatch.setattr(torch, 'load', lambda *args, **kwargs: calls.append(kwargs) or load(*args, **kwargs))
    read_checkpoint(source)
    assert [call['weights_only'] for call in calls] == [True]


def test_safetensors(tmp_path: Path):
    torch_file = pytest.importorskip('safetensors.torch')
    torch_file.save_file(STATE, tmp_path / 'a.safetensors', metadata={'format': 'pt'})
    (tmp_path / 'a.safetensors').rename(tmp_path / 'a.pth')  # the content counts
    found = read_checkpoint(tmp_path / 'a.pth')
    assert all(torch.equal(found[name], value) for name, value in STATE.items())


def truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-100])


def write(content: bytes) -> Callable[[Path], None]:
    return lambda file: file.write_bytes(content)


def save_safetensors(file: Path, cut: int = 0) -> None:
    content = pytest.importorskip('safetensors.torch').save({'a': torch.ones(100)})
    file.write_bytes(content[: len(content) - cut])


@pytest.mark.parametrize(
    ('make', 'message'),
    [
        (lambda file: None, 'does not exist'),
        (Path.mkdir, 'is a folder: name a file in it'),
        (write(b''), r'is empty \(0 bytes\)'),
        (write(b'no checkpoint at all'), 'no checkpoint, neither of torch.save nor of safetensors'),
        (write(b'\n<!DOCTYPE html><html><body>Sign in'), 'is a web page'),
        (write(b'<html>404'), 'is a web page'),
        (write(b'version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\n'), 'Git LFS pointer.*git lfs pull'),
        (write(b'{"weight_map": {}}'), 'is JSON'),
        (write(b'\x1f\x8b\x08\x00'), 'compressed archive'),
        (write(b'\x89HDF\r\n'), 'HDF5'),
        (write(pickle.dumps([1], 2)), 'is a pickle, but not of torch.save'),
        (write(pickle.dumps([1], 4)), 'is a pickle, but not of torch.save'),
        (lambda file: (torch.save(STATE, file), truncate(file)), 'truncated or damaged'),
        (
            lambda file: (torch.save(STATE, file, _use_new_zipfile_serialization=False), truncate(file)),
            'truncated or damaged',
        ),
        (lambda file: save_safetensors(file, 50), 'truncated or damaged'),
        (lambda file: save_safetensors(file, 410), 'truncated or damaged'),
        (lambda file: torch.jit.save(torch.jit.script(torch.nn.ReLU()), str(file)), 'TorchScript program'),
        (lambda file: np.savez(file.open('wb'), a=np.ones(2)), 'zip archive, but not of torch.save'),
        (lambda file: torch.save([torch.ones(1)], file), 'holds a list, not a dict of weights'),
        (lambda file: torch.save(torch.ones(1), file), 'holds a Tensor, not a dict of weights'),
        (lambda file: torch.save(torch.nn.Linear(1, 1), file), r'refers to torch\.nn\..*Linear'),
        (lambda file: torch.save(dict(state_dict=STATE, meta='x'), file), "its 'meta' is a str, not a dict"),
        (lambda file: torch.save(dict(state_dict=STATE, optimizer=[1]), file), "its 'optimizer' is a list, not a dict"),
    ],
)
def test_files_that_are_no_checkpoint(make: Callable[[Path], object], message: str, tmp_path: Path):
    file = tmp_path / 'weights.pth'
    make(file)
    with pytest.raises(CheckpointError, match=message) as error:
        read_checkpoint(file)
    assert str(file) in str(error.value) and '\n' not in str(error.value)
