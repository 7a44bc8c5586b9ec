"""Errors while a config is built: a line with the key, unless another process of the job is to blame."""

from __future__ import annotations

from datetime import timedelta

import pytest
import torch
import torch.distributed as dist

from mmhyena.apis.checks.building import config_errors
from mmhyena.errors import UserError


def raised_in_setup_env(function):
    """Call a function as MMEngine's runner does while it sets up the environment."""
    scope = {'__name__': 'mmengine.runner.runner', 'function': function}
    exec('def setup_env():\n    function()', scope)
    scope['setup_env']()


def fail(error):
    raise error


def test_a_mistake_is_one_line_with_its_key():
    with pytest.raises(UserError, match=r'^env_cfg: ValueError: no such method'), config_errors({'env_cfg': {}}):
        raised_in_setup_env(lambda: fail(ValueError('no such method')))


def test_processes_that_do_not_come_keep_their_traceback(tmp_path):
    def join():
        place = f'file://{tmp_path}/store'
        dist.init_process_group('gloo', init_method=place, world_size=2, rank=0, timeout=timedelta(seconds=1))

    with pytest.raises(RuntimeError), config_errors({'env_cfg': {}}):
        raised_in_setup_env(join)
    assert not dist.is_initialized()


@pytest.mark.parametrize(
    'message',
    [
        '[/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:547] Connection closed by peer [127.0.0.1]:9652',
        'Timed out after 2 seconds waiting for clients. 1/2 clients joined.',
        'NCCL communicator was aborted on rank 1',
        'Socket Timeout',
    ],
)
def test_lost_connections_keep_their_traceback(message):
    with pytest.raises(RuntimeError), config_errors({'env_cfg': {}}):
        raised_in_setup_env(lambda: fail(RuntimeError(message)))


def test_one_value_per_channel_names_the_remedy():
    def build_model():
        torch.nn.functional.batch_norm(torch.zeros(1, 2, 1, 1), None, None, training=True)

    scope = {'__name__': 'mmengine.runner.runner', 'inner': build_model}
    exec('def build_model():\n    inner()', scope)
    with pytest.raises(UserError, match=r'^model: .*raise train_dataloader\.batch_size'), config_errors({'model': {}}):
        scope['build_model']()
