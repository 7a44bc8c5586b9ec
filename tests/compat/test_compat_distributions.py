"""Detection of OneDL and OpenMMLab packages installed over each other."""

import sys
from pathlib import Path

import pytest

from mmhyena import compat
from mmhyena.compat import __main__ as compat_main
from mmhyena.compat import distributions

ONEDL = [t.onedl for t in distributions.TOOLKITS]
OPENMMLAB = [t.openmmlab for t in distributions.TOOLKITS]


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Makes exactly the given distributions (version 1.0) installed."""

    def install(*names: str) -> None:
        for name in names:
            folder = tmp_path / f'{name.replace("-", "_")}-1.0.dist-info'
            folder.mkdir()
            (folder / 'METADATA').write_text(f'Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n')
        monkeypatch.setattr(sys, 'path', [str(tmp_path)])

    return install


@pytest.mark.parametrize(
    ('names', 'distribution'),
    [([], None), (ONEDL, 'onedl'), (OPENMMLAB, 'openmmlab'), (['mmengine'], 'openmmlab'), (['onedl-mmcv'], 'onedl')],
)
def test_one_distribution_is_fine(installed, caplog, names, distribution):
    installed(*names)
    assert distributions.installed_distribution() == distribution
    assert compat.check_distributions() == []
    assert not caplog.records


@pytest.mark.parametrize('toolkit', distributions.TOOLKITS, ids=lambda t: t.name)
def test_each_pair_is_found(installed, toolkit):
    installed(*ONEDL, toolkit.openmmlab)
    assert distributions.installed_distribution() == 'mixed'
    with pytest.raises(compat.DistributionConflictError) as error:
        compat.check_distributions()
    message = str(error.value)
    assert '\n' not in message
    assert f'{toolkit.onedl} and {toolkit.openmmlab}' in message
    assert f'`pip uninstall -y {toolkit.onedl} {toolkit.openmmlab}`' in message
    assert f'`pip install {toolkit.onedl}=={toolkit.onedl_version}`' in message
    assert f'pip install --build-constraint build.txt {toolkit.openmmlab}=={toolkit.openmmlab_version}`' in message


def test_without_raising_it_is_one_warning(installed, caplog):
    installed(*ONEDL, *OPENMMLAB)
    assert compat.check_distributions(raise_error=False) == list(distributions.TOOLKITS)
    (record,) = caplog.records
    assert record.levelname == 'WARNING'
    assert '\n' not in record.getMessage()


@pytest.mark.parametrize(
    ('names', 'present', 'absent'),
    [
        (ONEDL, ['onedl-mmcv==2.3.6'], [' mmcv==']),
        (OPENMMLAB, [' mmcv==2.1.0'], ['onedl-mmcv==']),
        ([], ['onedl-mmcv==2.3.6', ' mmcv==2.1.0'], []),
    ],
)
def test_the_way_to_compiled_mmcv_is_that_of_the_distribution(installed, names, present, absent):
    installed(*names)
    command = distributions.compiled_mmcv_command()
    assert 'MMCV_WITH_OPS=1 pip install --no-build-isolation' in command
    assert all(part in command for part in present)
    assert not any(part in command for part in absent)


def test_environment_report_names_both_versions_of_a_conflict(installed):
    installed('mmcv', 'onedl-mmcv', 'mmdet')
    report = compat.environment_report()
    assert report['distribution'] == 'mixed'
    assert report['mmcv'] == 'onedl-mmcv 1.0, mmcv 1.0'
    assert report['mmdet'] == 'mmdet 1.0'
    assert report['mmseg'] == report['torch'] == 'not installed'
    assert all(isinstance(value, str) for value in report.values())


@pytest.mark.parametrize(
    ('names', 'warns'),
    [
        ([], False),
        (['opencv-python-headless'], False),
        (['opencv-python', 'opencv-python-headless'], True),
        (['opencv-python-headless', 'opencv-contrib-python'], True),
    ],
)
def test_several_opencv_packages_are_one_warning(installed, capsys, monkeypatch, names, warns):
    installed(*names)
    monkeypatch.setattr(sys, 'argv', ['mmhyena.compat'])
    compat_main.main()
    printed = capsys.readouterr()
    (row,) = [line for line in printed.out.splitlines() if line.startswith('opencv ')]
    assert row.split(maxsplit=1)[1] == (', '.join(f'{name} 1.0' for name in names) or 'not installed')
    assert bool(printed.err) == warns
    if warns:
        assert printed.err.count('\n') == 1
        assert f'`pip uninstall -y {" ".join(names)}`, then `pip install opencv-python-headless`' in printed.err


def test_pins_are_those_of_the_extras():
    pyproject = (Path(__file__).parents[2] / 'pyproject.toml').read_text()
    for toolkit in distributions.TOOLKITS:
        assert f'"{toolkit.onedl}=={toolkit.onedl_version}"' in pyproject
        assert f'"{toolkit.openmmlab}=={toolkit.openmmlab_version}"' in pyproject
