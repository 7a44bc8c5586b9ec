"""Generated folders that know what they hold: reuse what is complete, rebuild what is not, touch nothing else."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

MANIFEST = 'manifest.json'

Progress = Callable[[int, int], None]
"""Called as ``progress(done, total)``."""


class DatasetFolderError(Exception):
    """The output folder cannot be used as asked; the message says which one, why, and what to do."""


class Counter:
    """Counts finished images for a :data:`Progress` callback."""

    def __init__(self, progress: Progress | None, total: int) -> None:
        self.progress, self.total, self.done = progress, total, 0

    def step(self) -> None:
        """Report one more image."""
        self.done += 1
        if self.progress is not None:
            self.progress(self.done, self.total)


class GeneratedFolder:
    """A folder that is written by a generator and described by its ``manifest.json``.

    Args:
        root: The folder.
        dataset: Name of the data set, kept in the manifest.
        version: Version of the generator's output.
        parameters: What the output depends on, JSON values only.
        entries: Names of the files and folders in ``root`` that belong to the generator.
    """

    def __init__(
        self, root: str | os.PathLike, dataset: str, version: int, parameters: Mapping, entries: Iterable[str]
    ) -> None:
        self.root = Path(root)
        self.header: dict[str, Any] = {
            'dataset': dataset,
            'version': version,
            'complete': False,
            'parameters': dict(parameters),
        }
        self.entries = tuple(entries)

    def open(self, force: bool = False) -> bool:
        """Make room for writing; return False if the folder already holds, complete, what would be written.

        Args:
            force: Replace a complete data set of the same kind that has other parameters.

        Raises:
            DatasetFolderError: the folder holds something else, or other parameters and ``force`` is off.
            OSError: the folder cannot be written.
        """
        if self.root.exists() and not self.root.is_dir():
            raise DatasetFolderError(f'{self.root} is a file; name a folder')
        if self.root.exists() and any(self.root.iterdir()):
            old = self._read()
            same = all(old[key] == self.header[key] for key in ('version', 'parameters'))
            if same and self._is_complete(old):
                return False
            if not same and old['complete'] and not force:
                raise DatasetFolderError(
                    f'{self.root} holds {old["dataset"]} with other parameters ({self._difference(old)}); '
                    'replace it with --force (force=True) or name another folder'
                )
            for name in self.entries:
                if (self.root / name).is_dir():
                    shutil.rmtree(self.root / name)
                else:
                    (self.root / name).unlink(missing_ok=True)
        self.root.mkdir(parents=True, exist_ok=True)
        self._write(self.header)
        return True

    def close(self) -> None:
        """Record the number of files in every folder and mark the data set as complete."""
        self._write({**self.header, 'complete': True, 'files': self._count()})

    def _count(self) -> dict[str, int]:
        counts: dict[str, int] = {}
        for entry in self.entries:
            if (self.root / entry).is_file():
                counts[entry] = 1
            for folder, _, files in os.walk(self.root / entry):
                if files:
                    counts[Path(folder).relative_to(self.root).as_posix()] = len(files)
        return counts

    def _is_complete(self, manifest: dict) -> bool:
        return manifest['complete'] and manifest.get('files') == self._count()

    def _read(self) -> dict[str, Any]:
        try:
            manifest = json.loads((self.root / MANIFEST).read_text())
            if manifest['dataset'] == self.header['dataset'] and manifest.keys() >= self.header.keys():
                return manifest
        except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
            pass  # no manifest, or not one of ours: said below
        raise DatasetFolderError(
            f'{self.root} is not empty and holds no {self.header["dataset"]} data set; name another folder'
        )

    def _difference(self, old: dict[str, Any]) -> str:
        if old['version'] != self.header['version']:
            return f'version {old["version"]} instead of {self.header["version"]}'
        new = self.header['parameters']
        changed = (key for key in {**old['parameters'], **new} if old['parameters'].get(key) != new.get(key))
        return ', '.join(f'{key} {old["parameters"].get(key)} instead of {new.get(key)}' for key in changed)

    def _write(self, content: dict) -> None:
        # Replaced in one step, so that an interrupted write never leaves a manifest that cannot be read.
        temporary = self.root / f'.{MANIFEST}.tmp'
        temporary.write_text(json.dumps(content, indent=2) + '\n')
        temporary.replace(self.root / MANIFEST)
