"""Models by their names in the model index, from a clone and from an installed package."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from mmhyena.apis import Inferencer, UserError, load_config, model_index
from mmhyena.apis.model_index import find_model, list_models

ROOT = Path(__file__).parents[2]
NAME = 'hpx-former-tiny_shapes'


@pytest.fixture
def index(tmp_path, config, monkeypatch):
    """A function that makes an index of one model, as the only one, and returns its folder."""

    def make(weights: str | None, folder: str = '.') -> Path:
        root = tmp_path / folder
        (root / 'configs').mkdir(parents=True)
        entry = f'Models:\n  - Name: Tiny_Shapes\n    Config: {config("classification")}\n'
        (root / 'configs/metafile.yml').write_text(entry + (f'    Weights: {weights}\n' if weights else ''))
        (root / 'model-index.yml').write_text('Import:\n  - configs/metafile.yml\n')
        monkeypatch.setattr(model_index, '_FOLDERS', (tmp_path / '.mim', tmp_path))
        return root

    return make


def test_every_name_has_a_config_of_that_name():
    models = list_models()
    assert {NAME, 'mask-rcnn_hpx-former-tiny_fpn_shapes', 'upernet_hpx-former-tiny_shapes'} <= models.keys()
    for name, model in models.items():
        assert model.config.stem == name
        assert model.config.is_file()


def test_weights_are_those_of_the_metafile():
    model = find_model('HPX-Former-S18_8xb512_in1k')
    assert model.weights == 'hf://Spravil/hpx_former_s18.westai_in1k'
    assert model.file == 'checkpoints/hpx_former_s18.pth'
    assert 'model card' in model.license
    assert find_model(NAME).weights is None


@pytest.mark.parametrize(
    ('name', 'hint'),
    [
        ('hpx-former-tiny_shape', f'did you mean {NAME}'),
        ('retinanet', 'did you mean retinanet_'),
        ('b36-upernet', 'did you mean upernet_.*b36'),
        ('zzz', 'see model-index.yml'),
        ('', 'see model-index.yml'),
    ],
)
def test_unknown_names_come_with_near_ones(name, hint):
    with pytest.raises(UserError, match=rf'^{name} is neither a config file nor a name in the model index: {hint}'):
        find_model(name)


@pytest.mark.parametrize('folder', ['.mim', '.'])
def test_index_of_an_installation_and_of_a_clone(folder, index):
    root = index(None, folder)
    assert model_index.model_index() == root / 'model-index.yml'
    assert list(list_models()) == ['Tiny_Shapes']


def test_no_index_is_one_line(monkeypatch, tmp_path):
    monkeypatch.setattr(model_index, '_FOLDERS', (tmp_path,))
    with pytest.raises(UserError, match=r'model-index\.yml is in neither of .*: name a config file'):
        find_model(NAME)


def test_installed_package_has_the_files_of_the_clone():
    folder = model_index._PACKAGE / '.mim'
    if not folder.is_dir():
        pytest.skip('not installed: no .mim folder')
    assert list_models(folder / 'model-index.yml').keys() == list_models(ROOT / 'model-index.yml').keys()
    assert load_config(find_model(NAME).config).default_scope == 'mmpretrain'


def test_weights_of_an_alias_are_used(index, weights, make_inferencer, monkeypatch):
    pytest.importorskip('mmpretrain')
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    expected = make_inferencer('classification')(image)[0].scores
    root = index('checkpoints/tiny.pth')
    with pytest.raises(UserError, match=r'checkpoints/tiny\.pth, the weights of Tiny_Shapes, do not exist: put'):
        Inferencer('tiny_shapes', device='cpu')
    (root / 'checkpoints').mkdir()
    shutil.copy(weights('classification'), root / 'checkpoints/tiny.pth')
    np.testing.assert_array_equal(Inferencer('tiny_shapes', device='cpu')(image)[0].scores, expected)


def test_weights_of_an_alias_at_a_url_are_downloaded(index, weights, make_inferencer, monkeypatch, tmp_path):
    pytest.importorskip('mmpretrain')
    fetched = []

    def download(url: str, file: str, **options: object) -> None:
        fetched.append(url)
        shutil.copy(weights('classification'), file)

    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path / 'hub'))
    monkeypatch.setattr(torch.hub, 'download_url_to_file', download)
    index('https://example.org/tiny.pth')
    image = np.zeros((64, 64, 3), np.uint8)
    expected = make_inferencer('classification')(image)[0].scores
    for _ in range(2):
        np.testing.assert_array_equal(Inferencer('Tiny_Shapes', device='cpu')(image)[0].scores, expected)
    assert fetched == ['https://example.org/tiny.pth']


def test_published_weights_name_their_license():
    published = [model for model in list_models().values() if model.weights and '://' in model.weights]
    assert len(published) == 8
    assert all(model.license and model.file for model in published)


def test_weights_of_an_alias_on_the_hub(index, weights, make_inferencer, monkeypatch, tmp_path):
    pytest.importorskip('mmpretrain')
    client = pytest.importorskip('huggingface_hub')
    monkeypatch.chdir(tmp_path)
    asked = []

    def download(repo: str, file: str, revision: str) -> str:
        asked.append((repo, file))
        return str(weights('classification'))

    monkeypatch.setattr(client, 'hf_hub_download', download)
    index('hf://Someone/tiny\n    Weights File: checkpoints/tiny.pth')
    image = np.zeros((64, 64, 3), np.uint8)
    expected = make_inferencer('classification')(image)[0].scores
    np.testing.assert_array_equal(Inferencer('Tiny_Shapes', device='cpu')(image)[0].scores, expected)
    assert asked == [('Someone/tiny', 'model.safetensors')]

    def offline(repo: str, file: str, revision: str) -> str:
        raise client.utils.LocalEntryNotFoundError('offline')

    monkeypatch.setattr(client, 'hf_hub_download', offline)
    with pytest.raises(
        UserError,
        match=r'weights of Tiny_Shapes: .*download https://huggingface\.co/Someone/tiny/resolve/main/'
        r'model\.safetensors on a connected machine and name the file, or put it at checkpoints/tiny\.pth',
    ):
        Inferencer('Tiny_Shapes', device='cpu')
    (tmp_path / 'checkpoints').mkdir()
    shutil.copy(weights('classification'), tmp_path / 'checkpoints/tiny.pth')
    np.testing.assert_array_equal(Inferencer('Tiny_Shapes', device='cpu')(image)[0].scores, expected)


def test_a_named_checkpoint_goes_before_that_of_the_index(index, weights):
    pytest.importorskip('mmpretrain')
    index('checkpoints/nothing.pth')
    assert Inferencer('Tiny_Shapes', weights('classification'), device='cpu').task == 'classification'
