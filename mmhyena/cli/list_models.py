"""List what can be used by name: architectures of the backbones, configs, and models with published weights.

Examples:
    mmhyena list                          all three
    mmhyena list configs upernet ade20k   configs whose names hold both words
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence

from mmhyena.errors import UserError
from mmhyena.utils.cli import run_cli

KINDS = ('architectures', 'configs', 'weights')


def parse_args(argv: Sequence[str] | None = None, prog: str | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        prog=prog, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        'words', nargs='*', metavar='WORD', help=f'{", ".join(KINDS)}, or a part of the names that are listed'
    )
    return parser.parse_args(argv)


def run(args: argparse.Namespace) -> None:
    """Print the names of each kind, one per line, what belongs to them beside.

    Raises:
        UserError: If nothing matches.
    """
    kinds: tuple[str, ...] = KINDS
    words = [word.lower() for word in args.words]
    if words and words[0] in KINDS:
        kinds = (words.pop(0),)
    rows = {kind: [row for row in _rows(kind) if all(word in row[0].lower() for word in words)] for kind in kinds}
    if not any(rows.values()):
        raise UserError(f'no {" or ".join(kinds)} with {" and ".join(words)} in the name: try fewer words')
    for kind, found in rows.items():
        if not found:
            continue
        if len(kinds) > 1:
            print(f'{kind}:')
        width = max(len(name) for name, _ in found)
        for name, detail in found:
            print(f'{name:{width}}  {detail}'.rstrip())


def _rows(kind: str) -> Iterator[tuple[str, str]]:
    return {'architectures': _architectures, 'configs': _configs, 'weights': _weights}[kind]()


def _architectures() -> Iterator[tuple[str, str]]:
    from mmhyena.registry import MODELS

    MODELS.import_from_location()
    for name, backbone in sorted(MODELS.module_dict.items()):
        for arch in getattr(backbone, 'arch_settings', ()):
            yield arch, f'mmhyena.{name}'


def _configs() -> Iterator[tuple[str, str]]:
    from mmhyena.apis.model_index import list_models, model_index

    root = model_index().parent / 'configs'
    for name, model in sorted(list_models().items()):
        yield name, f'mmhyena::{model.config.relative_to(root).as_posix()}'


def _weights() -> Iterator[tuple[str, str]]:
    from mmhyena.apis.model_index import list_models

    for name, model in sorted(list_models().items()):
        if model.weights is not None:
            yield name, model.weights


def main(argv: Sequence[str] | None = None, prog: str | None = None) -> int:
    """List, and return the exit code."""
    args = parse_args(argv, prog)
    return run_cli(lambda: run(args))
