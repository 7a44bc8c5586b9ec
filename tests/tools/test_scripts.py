"""The shell scripts: sound syntax, one-line messages for what is missing, and the order of the quick start.

Nothing is installed or trained: Python, the environment and the tools are stood in for by small scripts.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = sorted([*ROOT.glob('tools/**/*.sh'), *ROOT.glob('requirements/*.sh'), ROOT / '.ci/run'])
SYSTEM_TOOLS = ('awk', 'bash', 'cat', 'cksum', 'cp', 'dirname', 'df', 'find', 'getconf', 'grep', 'head', 'ls', 'mkdir')
SYSTEM_TOOLS += ('mktemp', 'rm', 'sed', 'sort', 'tail', 'tee', 'touch', 'wc', 'xargs')

# Stands in for the environment's Python: answers the questions of env.sh and plays the tools.
FAKE_PYTHON = r"""#!/usr/bin/env bash
echo "$*" >>"$CALLS"
work_dir() { while [ "$1" != --work-dir ]; do shift; done; echo "$2"; }
case "$*" in
    '-c import sys; print'*) echo 3.11 ;;
    -) ;;
    *dataset_converters/shapes.py*)
        mkdir -p "$3/annotations" "$3/val"
        touch "$3/annotations/instances_train.json" "$3/val/"{1,2,3,4,5,6,7,8}.jpg
        ;;
    *tools/train.py*)
        echo '2030/01/01 00:00:00 - mmengine - INFO - Epoch(train) [1][50/75]  lr: 1.0e-05  eta: 0:01:00  loss: 1.5'
        if [ -n "${TRAIN_FAILS:-}" ]; then echo 'RuntimeError: what went wrong' && exit 1; fi
        checkpoint="$(work_dir "$@")/epoch_1.pth"
        touch "$checkpoint" && printf '%s' "$checkpoint" >"$(work_dir "$@")/last_checkpoint"
        ;;
    *tools/test.py*) echo "$METRICS" >"$(work_dir "$@")/metrics.json" ;;
    *image_demo.py*) mkdir -p "outputs/$RUN" && touch "outputs/$RUN/"{1,2,3,4,5,6,7,8}.jpg ;;
    *) exec "$REAL_PYTHON" "$@" ;;
esac
"""


def run(script: Path, *args: str, **settings: str | Path) -> subprocess.CompletedProcess:
    """Run a script without the settings of whoever runs the tests."""
    own = ('MMHYENA_', 'PIP_', 'UV_', 'QUICK')
    env = {key: value for key, value in os.environ.items() if not key.startswith(own)}
    env.update({key: str(value) for key, value in settings.items()})
    command = ['bash', str(script), *args]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL)


def last_line(result: subprocess.CompletedProcess) -> str:
    """The one line on stderr; the script must have failed."""
    assert result.returncode != 0, result.stdout
    lines = result.stderr.splitlines()
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith('error: ')
    return lines[0]


def write_script(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


@pytest.fixture
def system_path(tmp_path: Path) -> Path:
    """A PATH with a bare system's tools, without any Python, compiler or uv."""
    folder = tmp_path / 'bin'
    folder.mkdir()
    for name in SYSTEM_TOOLS:
        (folder / name).symlink_to(shutil.which(name))
    return folder


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with the scripts and what they read, and a complete environment with a fake Python."""
    root = tmp_path / 'repository with a space'
    for name in ('tools', 'requirements', 'configs/shapes', 'configs/_base_', 'pyproject.toml', 'setup.py'):
        source, target = ROOT / name, root / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(source, target) if source.is_dir() else shutil.copy(source, target)
    write_script(root / '.venv/bin/python', FAKE_PYTHON)
    (root / '.venv/pyvenv.cfg').touch()
    write_stamp(root)
    return root


def write_stamp(root: Path) -> None:
    code = 'source "$0/tools/lib/env.sh"; VENV="$ROOT/.venv"; env_stamp >"$VENV/.mmhyena-stamp"'
    subprocess.run(['bash', '-euc', code, str(root)], check=True)


def quickstart(repository: Path, *args: str, bbox: float = 0.61, segm: float = 0.5, **settings: str):
    name = 'quickstart-quick' if '--quick' in args else 'quickstart'
    return run(
        repository / 'tools/quickstart.sh',
        *args,
        CALLS=repository / 'calls.txt',
        METRICS=f'{{"coco/bbox_mAP": {bbox}, "coco/segm_mAP": {segm}}}',
        REAL_PYTHON=sys.executable,
        RUN=name,
        MMHYENA_MIN_FREE_GB='0',
        **settings,
    )


def calls(repository: Path, tool: str) -> list[str]:
    return [line for line in (repository / 'calls.txt').read_text().splitlines() if tool in line]


@pytest.mark.parametrize('script', SCRIPTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_syntax(script: Path):
    subprocess.run(['bash', '-n', str(script)], check=True)


def test_shellcheck():
    shellcheck = shutil.which('shellcheck', path=f'{Path(sys.executable).parent}{os.pathsep}{os.environ["PATH"]}')
    if shellcheck is None:
        pytest.skip('shellcheck is not installed')
    command = [shellcheck, '-x', '-P', 'SCRIPTDIR', *map(str, SCRIPTS)]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize('document', ['README.md', 'CONTRIBUTING.md'])
def test_documented_paths_exist(document: str):
    text = (ROOT / document).read_text()
    paths = set(re.findall(r'(?<![\w/.-])((?:tools|demo|configs|docs|requirements|\.ci)/[\w./-]*\w)', text))
    assert paths
    assert sorted(path for path in paths if not (ROOT / path).exists()) == []


# --- What is missing ---


def test_no_python(system_path: Path, tmp_path: Path):
    result = run(ROOT / 'tools/run_tests.sh', PATH=system_path, MMHYENA_VENV=tmp_path / 'venv')
    assert 'Python 3.10, 3.11, 3.12 or 3.13 is needed' in last_line(result)


@pytest.mark.parametrize('version', ['3.9', '3.14', '2.7'])
def test_unfit_python_is_named(system_path: Path, tmp_path: Path, version: str):
    python = write_script(system_path / 'python3', f'#!/usr/bin/env bash\necho {version}\n')
    for script in ('quickstart.sh', 'run_tests.sh'):
        message = last_line(run(ROOT / 'tools' / script, PATH=system_path, MMHYENA_VENV=tmp_path / 'venv'))
        assert f'{python} is {version}' in message
    assert not (tmp_path / 'venv').exists()


def test_chosen_python_must_fit(tmp_path: Path):
    python = write_script(tmp_path / 'mine', '#!/usr/bin/env bash\necho 3.8\n')
    result = run(ROOT / 'tools/run_tests.sh', MMHYENA_PYTHON=python, MMHYENA_VENV=tmp_path / 'venv')
    assert f'{python} is 3.8' in last_line(result)


def test_no_space(tmp_path: Path):
    settings = {'MMHYENA_PYTHON': sys.executable, 'MMHYENA_VENV': tmp_path / 'venv', 'MMHYENA_MIN_FREE_GB': '9999999'}
    assert 'needs 9999999 GB of free space' in last_line(run(ROOT / 'tools/quickstart.sh', **settings))
    assert not (tmp_path / 'venv').exists()


def test_no_network(system_path: Path, tmp_path: Path):
    result = run(
        ROOT / 'tools/quickstart.sh',
        PATH=system_path,
        TMPDIR=tmp_path,
        MMHYENA_PYTHON=getattr(sys, '_base_executable', sys.executable),
        MMHYENA_VENV=tmp_path / 'venv',
        MMHYENA_MIN_FREE_GB='0',
        PIP_CONFIG_FILE=os.devnull,
        PIP_INDEX_URL='http://127.0.0.1:9/simple/',
    )
    assert 'the package index cannot be reached' in last_line(result)


def test_python_without_venv(system_path: Path, tmp_path: Path):
    python = write_script(
        system_path / 'python3', '#!/usr/bin/env bash\n[ "$1" = -c ] && echo 3.11 && exit\necho no ensurepip; exit 1\n'
    )
    result = run(ROOT / 'tools/run_tests.sh', PATH=system_path, MMHYENA_VENV=tmp_path / 'v', MMHYENA_MIN_FREE_GB='0')
    message = last_line(result)
    assert str(python) in message
    assert 'python3-venv' in message
    assert not (tmp_path / 'v').exists()


# --- What must not be touched ---


def test_foreign_folder_is_left_alone(tmp_path: Path):
    (tmp_path / 'thesis.txt').write_text('mine')
    result = run(ROOT / 'tools/run_tests.sh', MMHYENA_PYTHON=sys.executable, MMHYENA_VENV=tmp_path)
    assert 'is not a virtual environment' in last_line(result)
    assert (tmp_path / 'thesis.txt').read_text() == 'mine'


def test_environment_of_an_unfit_python_is_left_alone(tmp_path: Path):
    python = write_script(tmp_path / 'bin/python', '#!/usr/bin/env bash\necho 3.8\n')
    (tmp_path / 'pyvenv.cfg').touch()
    assert 'has another Python than' in last_line(run(ROOT / 'tools/run_tests.sh', MMHYENA_VENV=tmp_path))
    assert python.exists()


def test_other_distribution_is_left_alone(repository: Path):
    (repository / '.venv/lib/python3.11/site-packages/mmcv-2.1.0.dist-info').mkdir(parents=True)
    (repository / '.venv/.mmhyena-stamp').unlink()
    result = run(repository / 'tools/run_tests.sh', CALLS=repository / 'calls.txt')
    assert 'holds mmcv' in last_line(result)


def test_distribution_decides_which_python_fits(tmp_path: Path):
    python = write_script(tmp_path / 'mine', '#!/usr/bin/env bash\necho 3.12\n')
    settings = {'MMHYENA_PYTHON': python, 'MMHYENA_VENV': tmp_path / 'venv', 'MMHYENA_MIN_FREE_GB': '9999999'}
    assert 'free space' in last_line(run(ROOT / 'tools/run_tests.sh', **settings))
    message = last_line(run(ROOT / 'tools/run_tests.sh', MMHYENA_DISTRIBUTION='openmmlab', **settings))
    assert 'Python 3.10 is needed' in message
    assert "MMHYENA_DISTRIBUTION is 'both'" in last_line(
        run(ROOT / 'tools/run_tests.sh', MMHYENA_DISTRIBUTION='both', **settings)
    )


# --- The quick start ---


def test_environment_is_renewed_when_its_pins_change(repository: Path):
    assert 'reused' in quickstart(repository).stdout
    with (repository / 'requirements/onedl.txt').open('a') as lock:
        lock.write('another==1.0\n')
    result = run(repository / 'tools/quickstart.sh', CALLS=repository / 'calls.txt', MMHYENA_MIN_FREE_GB='9999999')
    assert 'reused' not in result.stdout
    assert 'free space' in last_line(result)


def test_the_tests_add_the_optional_parts_once(repository: Path):
    write_script(repository / '.venv/bin/uv', '#!/usr/bin/env bash\necho "uv $*" >>"$CALLS"\n')
    settings = dict(CALLS=repository / 'calls.txt', REAL_PYTHON=sys.executable, MMHYENA_MIN_FREE_GB='0')
    quickstart(repository)
    assert calls(repository, 'extras') == []
    for _ in range(2):
        assert run(repository / 'tools/run_tests.sh', '--version', **settings).returncode == 0
    assert len(calls(repository, 'uv pip install')) == len(calls(repository, 'onedl-extras.txt')) == 1
    assert 'reused' in quickstart(repository).stdout


def test_quickstart_passes_at_the_goal(repository: Path):
    result = quickstart(repository)
    assert result.returncode == 0, result.stderr
    assert 'bbox mAP 0.610' in result.stdout
    assert 'segm mAP 0.500' in result.stdout
    assert str(repository / 'outputs/quickstart') in result.stdout
    assert 'PASS' in result.stdout.splitlines()[-1]
    assert 'Epoch(train) [1][50/75]  eta: 0:01:00  loss: 1.5' in result.stdout


@pytest.mark.parametrize('scores', [{'bbox': 0.499}, {'segm': 0.4}, {'segm': -1}, {'bbox': 'NaN'}])
def test_quickstart_fails_below_the_goal(repository: Path, scores: dict):
    result = quickstart(repository, **scores)
    assert 'FAIL' in last_line(result)
    assert 'checkpoint' in result.stdout


def test_quick_mode_needs_figures_but_no_goal(repository: Path):
    result = quickstart(repository, '--quick', bbox=0.0, segm=0.0)
    assert result.returncode == 0, result.stderr
    assert calls(repository, 'train.py')[0].count('shapes-quick') == 5
    assert 'FAIL' in last_line(quickstart(repository, '--quick', segm='NaN'))


def test_second_run_reuses_the_training(repository: Path):
    quickstart(repository)
    result = quickstart(repository)
    assert 'training is done already' in result.stdout
    assert len(calls(repository, 'train.py')) == 1
    with (repository / 'configs/shapes/mask-rcnn_hpx-former-tiny_fpn_shapes.py').open('a') as config:
        config.write('seed = 1\n')
    quickstart(repository)
    assert len(calls(repository, 'train.py')) == 2
    assert '--resume' not in calls(repository, 'train.py')[-1]


def test_interrupted_training_goes_on(repository: Path):
    assert quickstart(repository, TRAIN_FAILS='1').returncode == 1
    (repository / 'work_dirs/quickstart/last_checkpoint').write_text('epoch_1.pth')
    assert quickstart(repository).returncode == 0
    first, second = calls(repository, 'train.py')
    assert '--resume' not in first
    assert '--resume' in second


def test_failing_tool_shows_its_end_and_the_log(repository: Path):
    result = quickstart(repository, TRAIN_FAILS='1')
    assert result.returncode == 1
    assert 'RuntimeError: what went wrong' in result.stderr
    assert 'tools/train.py failed' in result.stderr.splitlines()[-1]
    assert str(repository / 'work_dirs/quickstart/train.log') in result.stderr


def test_unknown_argument(tmp_path: Path):
    result = run(ROOT / 'tools/quickstart.sh', '--fast', MMHYENA_VENV=tmp_path / 'venv')
    assert "unknown argument '--fast'" in last_line(result)


def test_help():
    result = run(ROOT / 'tools/quickstart.sh', '--help')
    assert result.returncode == 0
    assert '--quick' in result.stdout
