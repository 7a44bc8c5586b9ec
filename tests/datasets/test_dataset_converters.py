"""Command lines of the generators: exit codes and one-line errors."""

import importlib.util
from pathlib import Path

import pytest

TOOLS = Path(__file__).parents[2] / 'tools/dataset_converters'


def load(name):
    spec = importlib.util.spec_from_file_location(f'converter_{name}', TOOLS / f'{name}.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope='module')
def shapes():
    return load('shapes')


def run(module, capsys, *arguments):
    code = module.main([str(a) for a in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_shapes_writes_keeps_and_replaces(shapes, tmp_path, capsys):
    out = tmp_path / 'shapes'
    arguments = ('--out', out, '--train', 2, '--val', 1, '--size', '64x96', '--cls-size', 32)
    code, said, _ = run(shapes, capsys, *arguments)
    assert code == 0
    assert 'written to' in said
    code, said, _ = run(shapes, capsys, *arguments)
    assert code == 0
    assert 'is complete in' in said
    code, _, error = run(shapes, capsys, *arguments, '--seed', 1)
    assert code == 1
    assert error.startswith('error: ')
    assert error.count('\n') == 1
    assert 'seed 0 instead of 1' in error
    assert run(shapes, capsys, *arguments, '--seed', 1, '--force')[0] == 0


def test_shapes_one_line_errors(shapes, tmp_path, capsys):
    (tmp_path / 'file').write_text('')
    for out, arguments, words in (
        (tmp_path, (), 'holds no Shapes data set'),
        (tmp_path / 'file', (), 'is a file'),
        (tmp_path / 'file/below', (), 'file/below'),
        (tmp_path / 's', ('--size', 20), '20x20'),
        (tmp_path / 's', ('--train', -3), '-3'),
    ):
        code, _, error = run(shapes, capsys, '--out', out, *arguments)
        assert code == 1
        assert error.startswith('error: ')
        assert words in error
        assert error.count('\n') == 1


@pytest.mark.parametrize('size', ['12x', 'axb', '1x2x3', '-5'])
def test_shapes_size_that_is_none(shapes, size, capsys):
    with pytest.raises(SystemExit) as stop:
        shapes.parse_args(['--out', 'x', f'--size={size}'])
    assert stop.value.code == 2
    assert 'height x width' in capsys.readouterr().err


def test_shapes_size_forms(shapes):
    assert shapes.parse_size('160') == (160, 160)
    assert shapes.parse_size('128x192') == (128, 192)


def test_tiny_datasets_command(tmp_path, capsys):
    pytest.importorskip('mmseg')
    tiny = load('tiny_datasets')
    code, said, _ = run(tiny, capsys, '--out', tmp_path / 't', '--num', 2, '--only', 'cityscapes', 'shapes')
    assert code == 0
    assert 'cityscapes: ' in said
    assert (tmp_path / 't/cityscapes/leftImg8bit/val').is_dir()
    for arguments, words in ((('--only', 'voc'), 'unknown tree voc'), (('--num', 0), 'num is 0')):
        code, _, error = run(tiny, capsys, '--out', tmp_path / 't', *arguments)
        assert code == 1
        assert words in error
        assert error.count('\n') == 1
