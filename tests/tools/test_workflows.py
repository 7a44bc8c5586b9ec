"""The workflows of the code host are well-formed, run what ``.ci/run`` runs, and name files that exist."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = sorted((ROOT / '.github/workflows').glob('*.yml'))


def read_workflow(path: Path) -> dict[str, Any]:
    return yaml.safe_load(path.read_text())


def commands(workflow: dict[str, Any]) -> list[str]:
    return [step['run'] for job in workflow['jobs'].values() for step in job['steps'] if 'run' in step]


@pytest.mark.parametrize('path', WORKFLOWS, ids=lambda path: path.name)
def test_jobs_are_well_formed(path: Path):
    workflow = read_workflow(path)
    assert workflow[True]  # YAML 1.1 reads the key `on` as a boolean
    for job in workflow['jobs'].values():
        assert job['runs-on']
        assert job['steps'][0]['uses'].startswith('actions/checkout@')
        assert all(('run' in step) != ('uses' in step) for step in job['steps'])


@pytest.mark.parametrize('path', WORKFLOWS, ids=lambda path: path.name)
def test_commands_parse_and_name_files_that_exist(path: Path):
    for command in commands(read_workflow(path)):
        subprocess.run(['bash', '-n', '-c', command], check=True)
        named = re.findall(r'(?<![\w/.-])((?:tools|tests|\.ci)/[\w./-]*\w)', command)
        assert [name for name in named if not (ROOT / name).exists()] == []


def test_every_distribution_and_python_has_a_job():
    jobs = read_workflow(ROOT / '.github/workflows/ci.yml')['jobs']
    assert jobs['onedl']['strategy']['matrix']['python'] == ['3.10', '3.11', '3.12', '3.13']
    assert 'bash .ci/run' in commands({'jobs': {'onedl': jobs['onedl']}})
    assert jobs['openmmlab']['env'] == {'MMHYENA_DISTRIBUTION': 'openmmlab'}
    assert {'newest', 'bare', 'wheel', 'docs'} <= set(jobs)
