"""A run that is killed at any moment and resumed ends with the weights of an uninterrupted one, bit for bit."""

from __future__ import annotations

import itertools
import random
import signal
import sys
from pathlib import Path

import pytest

pytest.importorskip('mmpretrain')

import mmpretrain.datasets
import mmpretrain.models  # noqa: F401  (imported before the processes are forked)

import mmhyena.apis.run  # noqa: F401

sys.path.insert(0, str(Path(__file__).parent))
from killing import MOMENTS, VARIANTS, assert_same, last_checkpoint, make_data, run_apart, train, write_config

KILLS = 10


@pytest.fixture(scope='module')
def data(tmp_path_factory) -> Path:
    return make_data(tmp_path_factory.mktemp('data') / 'shapes')


@pytest.fixture(scope='module')
def uninterrupted(data, tmp_path_factory):
    """A function that trains a variant once and returns its config and last checkpoint."""
    finished: dict[tuple[str, int], tuple[Path, dict]] = {}

    def run(variant: str, workers: int) -> tuple[Path, dict]:
        if (variant, workers) not in finished:
            folder = tmp_path_factory.mktemp('whole')
            config = write_config(folder / 'config.py', data, workers, **VARIANTS[variant])
            assert run_apart(train, config, folder / 'work') == 0
            finished[variant, workers] = config, last_checkpoint(folder / 'work')
        return finished[variant, workers]

    return run


def finish(config: Path, work_dir: Path, kills: list[tuple[str, int]]) -> list[int]:
    """Run until the training is through; return the exit codes."""
    codes = [run_apart(train, config, work_dir, kill) for kill in kills]
    return [*codes, run_apart(train, config, work_dir)]


@pytest.mark.parametrize(
    'variant, workers, kill',
    [
        ('epochs', 0, ('the middle of writing a checkpoint', 2)),
        ('epochs, checkpoints by iteration', 2, ('an iteration', 6)),
        ('iterations', 0, ('an iteration', 8)),
    ],
)
def test_killed_once(variant, workers, kill, uninterrupted, tmp_path):
    config, expected = uninterrupted(variant, workers)
    assert finish(config, tmp_path, [kill]) == [-signal.SIGKILL, 0]
    assert_same(last_checkpoint(tmp_path), expected)
    assert not list(tmp_path.rglob('.*.tmp'))


@pytest.mark.parametrize(
    'variant, moment, number, name',
    [
        ('epochs', ('an iteration', 5), signal.SIGTERM, 'interrupted.pth'),
        # The regular checkpoint of this iteration is there already.
        ('iterations', ('a validation', 3), signal.SIGUSR1, 'iter_6.pth'),
    ],
)
def test_stopped_by_a_signal(variant, moment, number, name, uninterrupted, tmp_path):
    """A checkpoint after the iteration, exit code 75, and the same weights in the end."""
    config, expected = uninterrupted(variant, 0)
    assert run_apart(train, config, tmp_path, (*moment, number)) == 75
    stopped = last_checkpoint(tmp_path)
    assert Path((tmp_path / 'last_checkpoint').read_text()).name == name
    assert stopped['meta']['iter'] == (5 if variant == 'epochs' else 6)
    assert run_apart(train, config, tmp_path) == 0
    assert_same(last_checkpoint(tmp_path), expected)
    assert not (tmp_path / 'interrupted.pth').exists()


@pytest.mark.slow
@pytest.mark.parametrize('variant, workers', list(itertools.product(VARIANTS, (0, 2))))
def test_killed_at_random(variant, workers, uninterrupted, tmp_path, add_row):
    """Ten kills at random moments, each followed by a resume; what a resumed run repeats may be killed again."""
    config, expected = uninterrupted(variant, workers)
    rng = random.Random(f'{variant} {workers}')
    kills = 0
    while kills < KILLS:
        work_dir = tmp_path / str(kills)
        planned = [(moment, rng.randint(1, MOMENTS[moment][1])) for moment in rng.choices(list(MOMENTS), k=4)]
        codes = finish(config, work_dir, planned)
        assert set(codes) <= {0, -signal.SIGKILL}
        assert codes[-1] == 0
        kills += codes.count(-signal.SIGKILL)
        assert_same(last_checkpoint(work_dir), expected)
    add_row('Kills', variant=variant, workers=workers, kills=kills, weights='as without')
