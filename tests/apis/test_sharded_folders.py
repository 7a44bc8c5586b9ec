"""A folder of shards in the place of a checkpoint is one line that says how to make a file of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from mmhyena.apis.pretrained import check_pretrained
from mmhyena.apis.resume import resume_from
from mmhyena.checkpoints import CheckpointError, read_checkpoint

STATE = {'a.weight': torch.ones(2, 3), 'b.bias': torch.zeros(2)}


def deepspeed(folder: Path) -> None:
    (folder / 'global_step8').mkdir(parents=True)
    (folder / 'latest').write_text('global_step8')
    torch.save(dict(module=STATE), folder / 'global_step8/mp_rank_00_model_states.pt')


def distributed(folder: Path) -> None:
    checkpoint = pytest.importorskip('torch.distributed.checkpoint')
    if not hasattr(checkpoint, 'save'):
        pytest.skip('torch 2.2 or later')
    checkpoint.save(STATE, checkpoint_id=folder)


def fsdp(folder: Path) -> None:
    folder.mkdir()
    for rank in range(2):
        torch.save(dict(state_dict=STATE), folder / f'rank{rank}.pth')


FOLDERS: dict[Callable[[Path], None], str] = {
    deepspeed: 'is a folder of shards of DeepSpeed: make one file of it with its zero_to_fp32.py',
    distributed: 'is a folder of shards of torch.distributed.checkpoint: make one file of it with python -m torch',
    fsdp: 'is a folder of shards of FSDP: resume it with the FSDPStrategy',
}


def config(folder: Path, strategy: str | None = None, **settings: object) -> Config:
    settings = dict(model={}, work_dir=str(folder.parent / 'run')) | settings
    return Config(settings if strategy is None else dict(settings, strategy=dict(type=strategy)))


@pytest.mark.parametrize('write', FOLDERS)
@pytest.mark.parametrize('way', ['reader', 'load_from', 'init_cfg', 'resume', 'resume=True'])
def test_one_line(write, way, tmp_path):
    folder = tmp_path / 'shards'
    write(folder)
    init = dict(init_cfg=dict(type='Pretrained', checkpoint=str(folder)))
    ways = {
        'reader': lambda: read_checkpoint(folder),
        'load_from': lambda: check_pretrained(config(folder, load_from=str(folder))),
        'init_cfg': lambda: check_pretrained(config(folder, model=init)),
        'resume': lambda: resume_from(config(folder), str(folder)),
        'resume=True': lambda: resume_from(config(folder, resume=True, load_from=str(folder)), None),
    }
    with pytest.raises(CheckpointError) as error:
        ways[way]()
    assert str(folder) in str(error.value) and FOLDERS[write] in str(error.value)
    assert '\n' not in str(error.value)


def test_strategies_read_their_own(tmp_path):
    """FSDP's by our reader; DeepSpeed unpickles by itself, so only what this run wrote."""
    for write in (fsdp, deepspeed):
        write(tmp_path / f'run_{write.__name__}')
    assert resume_from(config(tmp_path / 'run_fsdp', 'FSDPStrategy'), str(tmp_path / 'run_fsdp')) is None
    check_pretrained(config(tmp_path / 'run_fsdp', 'FSDPStrategy', load_from=str(tmp_path / 'run_fsdp')))
    elsewhere = str(tmp_path / 'run_deepspeed')
    with pytest.raises(CheckpointError, match='shards of DeepSpeed'):
        resume_from(config(tmp_path / 'run_deepspeed', 'DeepSpeedStrategy'), elsewhere)
    with pytest.raises(CheckpointError, match='shards of DeepSpeed'):
        check_pretrained(config(tmp_path / 'run_deepspeed', 'DeepSpeedStrategy', load_from=elsewhere))
    deepspeed(tmp_path / 'run/epoch_1.pth')
    own = config(tmp_path / 'run', 'DeepSpeedStrategy')
    assert resume_from(own, str(tmp_path / 'run/epoch_1.pth')) is None and own.resume


def test_what_the_converter_of_torch_writes_is_read(tmp_path):
    formats = pytest.importorskip('torch.distributed.checkpoint.format_utils')
    distributed(tmp_path / 'shards')
    formats.dcp_to_torch_save(tmp_path / 'shards', tmp_path / 'one.pth')
    read = read_checkpoint(tmp_path / 'one.pth')
    assert read.keys() == STATE.keys() and all(torch.equal(read[name], value) for name, value in STATE.items())
