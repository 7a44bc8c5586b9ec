"""Checkpoints by address: files, URLs, repositories of the Hugging Face hub and the model zoos of OpenMMLab.

What is downloaded is checked before it is kept. In a distributed job one process per machine downloads, and if it
fails, all processes fail with its message instead of waiting for it.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path
from urllib.parse import unquote

import torch
from mmengine.dist import all_gather_object, get_rank, get_world_size
from mmengine.fileio import get as read_bytes

from mmhyena.checkpoints.formats import identify
from mmhyena.errors import CheckpointError

__all__ = ['fetch']

_URL = ('http://', 'https://')
_HUB = re.compile(r'hf://(?P<repo>[^/@]+/[^/@]+)(?:@(?P<revision>[^/]+))?(?:/(?P<file>.+))?')
# Published files of a repository in order of preference: safetensors cannot hold code.
_HUB_FILES = ('model.safetensors', 'pytorch_model.bin')


def fetch(source: str) -> Path | io.BytesIO:
    """Return the file at an address, downloaded if need be, or its content.

    Args:
        source: A local file; ``http(s)://``, kept in torch's hub folder under a name made of the whole URL;
            ``hf://ORGANIZATION/NAME[@REVISION][/FILE]``, kept in the cache of huggingface_hub;
            ``torchvision://``, ``open-mmlab://`` and ``mmcls://``, the names that MMEngine knows; or any other address
            that MMEngine's file backends read.

    Raises:
        CheckpointError: If there is no such file or it cannot be downloaded.
    """
    source = _model_zoo_url(source)
    if source.startswith(_URL):
        return _once_per_machine(lambda: _download(source))
    if source.startswith('hf://'):
        return _once_per_machine(lambda: _download_from_hub(source))
    if '://' in source:
        try:
            return io.BytesIO(read_bytes(source))
        except (ImportError, OSError, LookupError, ValueError, AssertionError, RuntimeError) as error:
            raise CheckpointError(f'{source} cannot be read: {_one_line(error)}') from error
    file = Path(source).expanduser()
    if file.is_dir():
        raise CheckpointError(f'checkpoint {source} is {_describe_folder(file)}')
    if not file.is_file():
        raise CheckpointError(f'checkpoint {source} does not exist')
    return file


def _describe_folder(folder: Path) -> str:
    """Say whose shards a folder holds, and how to make one file of them."""
    names = [path.name for pattern in ('*', '*/*') for path in folder.glob(pattern)]
    if any(name == 'zero_to_fp32.py' or name.endswith(('_model_states.pt', '_optim_states.pt')) for name in names):
        return 'a folder of shards of DeepSpeed: make one file of it with its zero_to_fp32.py, and name that'
    if any(name.endswith('.distcp') for name in names):
        return (
            'a folder of shards of torch.distributed.checkpoint: make one file of it with '
            'python -m torch.distributed.checkpoint.format_utils dcp_to_torch FOLDER FILE, and name that'
        )
    if 'rank0.pth' in names:
        return (
            'a folder of shards of FSDP: resume it with the FSDPStrategy and the number of processes that wrote it, or '
            'train with strategy.state_dict_cfg=full, which writes one file'
        )
    return 'a folder: name a file in it'


def _once_per_machine(download: Callable[[], Path]) -> Path:
    """Call ``download``, which is quick when its file is there, in one process per machine before all others.

    The first process of the job comes first, so that machines with a common cache download once in all.

    Raises:
        CheckpointError: In every process, if one of them failed.
    """
    if get_world_size() == 1:
        return download()
    for is_my_turn in (get_rank() == 0, os.environ.get('LOCAL_RANK', '0') == '0', True):
        file, failure = None, None
        if is_my_turn:
            try:
                file = download()
            except CheckpointError as error:
                failure = str(error)
        for failed in all_gather_object(failure):
            if failed is not None:
                raise CheckpointError(failed)
    assert file is not None
    return file


def _download(url: str) -> Path:
    # Files of one name at two URLs must not be mistaken for each other.
    key = hashlib.sha256(url.encode()).hexdigest()[:16]
    name = Path(unquote(url.split('?')[0])).name
    file = Path(torch.hub.get_dir()) / 'checkpoints' / f'{key}-{name}'
    if file.exists():
        return file
    part = file.with_name(f'{file.name}.{os.getpid()}.part')
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(part), progress=True)
        with part.open('rb') as stream:
            identify(stream, url)
        os.replace(part, file)
    except CheckpointError:
        raise
    except (OSError, HTTPException, RuntimeError, ValueError) as error:
        raise CheckpointError(
            f'{url} cannot be downloaded: {_one_line(error)}; download it elsewhere and name the file'
        ) from error
    finally:
        part.unlink(missing_ok=True)
    return file


def _download_from_hub(source: str) -> Path:
    """Return the file of an ``hf://`` address in the cache of huggingface_hub, from the hub if it is not there."""
    match = _HUB.fullmatch(source)
    if match is None:
        raise CheckpointError(f'{source} is not of the form hf://ORGANIZATION/NAME[@REVISION][/FILE]')
    try:
        from huggingface_hub import hf_hub_download
        from huggingface_hub.utils import EntryNotFoundError, LocalEntryNotFoundError
    except ImportError as error:
        raise CheckpointError(f"{source} needs huggingface_hub: pip install 'mmhyena[hub]'") from error
    repo, revision = match['repo'], unquote(match['revision'] or 'main')
    files = (match['file'],) if match['file'] else _HUB_FILES
    remedy = (
        f'download https://huggingface.co/{repo}/resolve/{revision}/{files[0]} on a connected machine and name the file'
    )
    unreachable = None
    for file in files:
        try:
            return Path(hf_hub_download(repo, file, revision=revision))
        except LocalEntryNotFoundError as error:  # neither in the cache nor within reach; perhaps the next one is
            unreachable = unreachable or error
        except EntryNotFoundError:
            continue
        # The client's own errors derive from OSError or from those of its HTTP library, which differ by version.
        except Exception as error:
            raise CheckpointError(f'{source} cannot be downloaded: {_one_line(error)}; {remedy}') from error
    if unreachable is not None:
        raise CheckpointError(f'{source} is not in the cache and the hub cannot be reached: {remedy}') from unreachable
    raise CheckpointError(f'{source} has no {" or ".join(files)}: name a file, hf://{repo}/FILE')


def _model_zoo_url(source: str) -> str:
    """Return the address behind a name of MMEngine's model zoos; any other address is returned as it is."""
    scheme, separator, name = source.partition('://')
    if not separator or scheme not in ('torchvision', 'modelzoo', 'open-mmlab', 'openmmlab', 'mmcls'):
        return source
    from mmengine.runner import checkpoint as zoo

    if scheme in ('torchvision', 'modelzoo'):
        names = zoo.get_torchvision_models()
    elif scheme == 'mmcls':
        names = zoo.get_mmcls_models()
    else:
        names = zoo.get_external_models()
        name = zoo.get_deprecated_model_names().get(name, name)
    if name not in names:
        raise CheckpointError(f'{source} is not a model that MMEngine knows')
    url: str = names[name]
    return url if '://' in url else str(Path(zoo._get_mmengine_home()) / url)


def _one_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
