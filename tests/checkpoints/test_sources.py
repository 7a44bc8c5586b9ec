"""Checkpoints by address, from servers on this machine."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from mmhyena.checkpoints import CheckpointError, read_checkpoint, sources

STATE = {'a.weight': torch.ones(2), 'b.bias': torch.zeros(1)}
UNREACHABLE = 'http://127.0.0.1:9/weights.pth'


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that downloads go to."""
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path / 'hub'))
    return tmp_path / 'hub/checkpoints'


@pytest.fixture
def served(tmp_path: Path) -> Path:
    (tmp_path / 'served').mkdir()
    return tmp_path / 'served'


def test_urls_are_kept(served: Path, serve: Callable, cache: Path):
    torch.save(STATE, served / 'weights.pth')
    url = f'{serve(served)}/weights.pth?download=true'
    for _ in range(2):
        assert torch.equal(read_checkpoint(url)['a.weight'], STATE['a.weight'])
        (served / 'weights.pth').unlink(missing_ok=True)
    (file,) = cache.iterdir()
    assert file.name.endswith('-weights.pth')


def test_files_of_one_name_are_told_apart(served: Path, serve: Callable):
    for name in ('one', 'two'):
        (served / name).mkdir()
        torch.save({'a': torch.tensor(float(len(name))), 'name': torch.tensor(ord(name[0]))}, served / name / 'w.pth')
    base = serve(served)
    assert [read_checkpoint(f'{base}/{name}/w.pth')['name'] for name in ('one', 'two')] == [ord('o'), ord('t')]


@pytest.mark.parametrize(
    ('content', 'message'),
    [(b'<!doctype html>', 'is a web page'), (b'', 'is empty'), (b'PK\x03\x04 and no more', 'truncated')],
)
def test_what_is_no_checkpoint_is_not_kept(
    content: bytes, message: str, served: Path, serve: Callable, cache: Path, capsys: pytest.CaptureFixture
):
    (served / 'weights.pth').write_bytes(content)
    url = f'{serve(served)}/weights.pth'
    with pytest.raises(CheckpointError, match=f'{url} cannot be read: .*{message}'):
        read_checkpoint(url)
    assert not list(cache.iterdir())
    torch.save(STATE, served / 'weights.pth')
    assert read_checkpoint(url).keys() == STATE.keys()


def test_code_from_a_url_does_not_run(hostile: Path, serve: Callable):
    with pytest.raises(CheckpointError, match='cannot be read'):
        read_checkpoint(f'{serve(hostile.parent)}/{hostile.name}')


@pytest.mark.parametrize('url', [UNREACHABLE, 'http://127.0.0.1:9/', 'http://[::1/x.pth'])
def test_unreachable_url(url: str):
    with pytest.raises(CheckpointError, match=r'cannot be downloaded: .*download it elsewhere') as error:
        read_checkpoint(url)
    assert '\n' not in str(error.value)


def test_missing_file_on_a_server(served: Path, serve: Callable):
    with pytest.raises(CheckpointError, match='cannot be downloaded: HTTP Error 404'):
        read_checkpoint(f'{serve(served)}/nothing.pth')


def test_names_of_the_model_zoos(monkeypatch: pytest.MonkeyPatch):
    asked: list[str] = []
    monkeypatch.setattr(sources, '_download', lambda url: asked.append(url) or Path('none'))
    for name in ('torchvision://resnet50', 'open-mmlab://detectron2/resnet50_caffe', 'mmcls://mobilenet_v2'):
        sources.fetch(name)
    assert len(asked) == 3 and all(url.startswith('http') for url in asked)
    with pytest.raises(CheckpointError, match='torchvision://resnet5 is not a model that MMEngine knows'):
        sources.fetch('torchvision://resnet5')


def test_mmcls_names_stand_for_a_backbone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    from mmengine.runner.checkpoint import CheckpointLoader

    torch.save({'state_dict': {'backbone.a': torch.ones(1), 'head.b': torch.ones(1)}}, tmp_path / 'w.pth')
    monkeypatch.setattr(sources, '_download', lambda url: tmp_path / 'w.pth')
    assert list(CheckpointLoader.load_checkpoint('mmcls://mobilenet_v2')['state_dict']) == ['a']


@pytest.mark.parametrize('address', ['nothing://a/b.pth', 'pavi://a/b'])
def test_unknown_addresses(address: str):
    with pytest.raises(CheckpointError, match=f'{address} cannot be read') as error:
        read_checkpoint(address)
    assert '\n' not in str(error.value)


def test_other_backends_of_mmengine(monkeypatch: pytest.MonkeyPatch):
    buffer = io.BytesIO()
    torch.save(STATE, buffer)
    monkeypatch.setattr(sources, 'read_bytes', lambda source: buffer.getvalue())
    assert read_checkpoint('s3://bucket/weights.pth').keys() == STATE.keys()


# ---------------------------------------------------------------------------------------------------------------- hub


class Hub:
    """A stand-in for the client: repositories are folders."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.asked: list[tuple[str, str, str]] = []
        self.offline = False

    def download(self, repo: str, file: str, revision: str) -> str:
        from huggingface_hub.utils import EntryNotFoundError, LocalEntryNotFoundError

        self.asked.append((repo, file, revision))
        path = self.root / repo / revision / file
        if path.exists():
            return str(path)
        if self.offline:
            raise LocalEntryNotFoundError('not in the cache')
        if not (self.root / repo).exists():
            raise OSError(f'401 Client Error.\n\nRepository Not Found for {repo}')
        raise _not_found(EntryNotFoundError)


def _not_found(kind: type[Exception]) -> Exception:
    # Versions differ in whether the error of a missing file needs the server's response.
    error = kind.__new__(kind)
    error.args = ('404 Client Error',)
    return error


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    client = pytest.importorskip('huggingface_hub')
    fake = Hub(tmp_path / 'repositories')
    monkeypatch.setattr(client, 'hf_hub_download', fake.download)
    return fake


def publish(hub: Hub, file: str, value: float = 1.0, revision: str = 'main') -> None:
    path = hub.root / 'Someone/model.of_theirs' / revision / file
    path.parent.mkdir(parents=True, exist_ok=True)
    state = {'a': torch.tensor([value])}
    if file.endswith('.safetensors'):
        pytest.importorskip('safetensors.torch').save_file(state, path)
    else:
        torch.save(state, path)


NAME = 'hf://Someone/model.of_theirs'


def test_safetensors_are_preferred(hub: Hub):
    publish(hub, 'pytorch_model.bin', 1.0)
    assert read_checkpoint(NAME)['a'] == 1.0
    publish(hub, 'model.safetensors', 2.0)
    assert read_checkpoint(NAME)['a'] == 2.0
    assert hub.asked[0] == ('Someone/model.of_theirs', 'model.safetensors', 'main')


def test_revision_and_file(hub: Hub):
    publish(hub, 'model.safetensors')
    publish(hub, 'model.safetensors', 3.0, 'v1.0')
    publish(hub, 'sub/other.pth', 4.0)
    publish(hub, 'sub/other.pth', 5.0, 'refs/pr/1')
    assert read_checkpoint(f'{NAME}@v1.0')['a'] == 3.0
    assert read_checkpoint(f'{NAME}/sub/other.pth')['a'] == 4.0
    assert read_checkpoint(f'{NAME}@refs%2Fpr%2F1/sub/other.pth')['a'] == 5.0


def test_mmengine_knows_the_hub(hub: Hub):
    from mmengine.runner.checkpoint import CheckpointLoader

    publish(hub, 'model.safetensors')
    assert CheckpointLoader.load_checkpoint(NAME)['a'] == 1.0


@pytest.mark.parametrize(
    ('name', 'offline', 'message'),
    [
        (f'{NAME}/none.pth', False, r'has no none\.pth: name a file, hf://Someone/model\.of_theirs/FILE'),
        (
            'hf://Someone/nothing',
            True,
            r'is not in the cache and the hub cannot be reached: download '
            r'https://huggingface.co/Someone/nothing/resolve/main/model\.safetensors on a connected machine',
        ),
        ('hf://Someone/nothing', False, 'cannot be downloaded: 401 Client Error.; download https://huggingface.co/'),
        ('hf://Someone', False, r'is not of the form hf://ORGANIZATION/NAME\[@REVISION\]\[/FILE\]'),
        ('hf://', False, 'is not of the form'),
    ],
)
def test_what_the_hub_does_not_have(name: str, offline: bool, message: str, hub: Hub):
    publish(hub, 'model.safetensors')
    hub.offline = offline
    with pytest.raises(CheckpointError, match=f'^{name} {message}') as error:
        read_checkpoint(name)
    assert '\n' not in str(error.value)


def test_cached_files_of_the_second_kind_are_found_offline(hub: Hub):
    publish(hub, 'pytorch_model.bin')
    hub.offline = True
    assert read_checkpoint(NAME)['a'] == 1.0


def test_hub_client_is_optional(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, 'huggingface_hub', None)
    with pytest.raises(CheckpointError, match=r"needs huggingface_hub: pip install 'mmhyena\[hub\]'"):
        read_checkpoint(NAME)


# ---------------------------------------------------------------------------------------------------------- processes

PROCESS = """
import json, os, sys, time
import torch
import torch.distributed as dist
from datetime import timedelta
from pathlib import Path
from mmhyena.checkpoints import CheckpointError, read_checkpoint, sources

url, folder = sys.argv[1:]
dist.init_process_group('gloo', timeout=timedelta(seconds=60))
rank = dist.get_rank()
# Each process stands for a machine with a cache of its own.
torch.hub.get_dir = lambda: str(Path(folder) / os.environ['CACHE'])
start = time.monotonic()
try:
    answer = sorted(read_checkpoint(url))
except CheckpointError as error:
    answer = str(error)
Path(folder, f'{rank}.json').write_text(json.dumps([answer, time.monotonic() - start]))
dist.barrier()
dist.destroy_process_group()
"""


def run_two(url: str, folder: Path, caches: tuple[str, str], local_ranks: tuple[str, str]) -> list:
    """Read ``url`` in two processes; return what each got and the seconds it took."""
    (folder / 'process.py').write_text(PROCESS)
    port = _free_port()
    processes = []
    for rank in range(2):
        environment = os.environ | dict(
            RANK=str(rank),
            WORLD_SIZE='2',
            LOCAL_RANK=local_ranks[rank],
            MASTER_ADDR='127.0.0.1',
            MASTER_PORT=str(port),
            CACHE=caches[rank],
            PYTHONPATH=str(Path(__file__).parents[2]),
            OMP_NUM_THREADS='1',
        )
        command = [sys.executable, str(folder / 'process.py'), url, str(folder)]
        processes.append(subprocess.Popen(command, env=environment))
    try:
        codes = [process.wait(timeout=120) for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert codes == [0, 0]
    return [json.loads((folder / f'{rank}.json').read_text()) for rank in range(2)]


def _free_port() -> int:
    import socket

    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return int(s.getsockname()[1])


@pytest.mark.slow
def test_a_failed_download_ends_every_process_at_once(tmp_path: Path):
    answers = run_two(UNREACHABLE, tmp_path, ('hub', 'hub'), ('0', '1'))
    for message, seconds in answers:
        assert f'{UNREACHABLE} cannot be downloaded' in message
        assert seconds < 20


@pytest.mark.slow
@pytest.mark.parametrize(('caches', 'local_ranks'), [(('a', 'a'), ('0', '1')), (('a', 'b'), ('0', '0'))])
def test_one_process_per_machine_downloads(
    caches: tuple[str, str], local_ranks: tuple[str, str], tmp_path: Path, served: Path, serve: Callable
):
    torch.save(STATE, served / 'weights.pth')
    answers = run_two(f'{serve(served)}/weights.pth', tmp_path, caches, local_ranks)
    assert [answer for answer, _ in answers] == [sorted(STATE)] * 2
    assert {file.parts[-3] for file in tmp_path.glob('*/checkpoints/*')} == set(caches)
