"""The ``mmhyena`` command, also as ``python -m mmhyena``: one name in front of all tools.

Nothing heavy is imported until a command has parsed its arguments, so that ``--help`` answers at once.
"""

from __future__ import annotations

import difflib
import importlib
import sys
from collections.abc import Sequence

from mmhyena.version import __version__

__all__ = ['COMMANDS', 'main']

COMMANDS = {
    'template': 'write a config for data of your own',
    'train': 'train a classifier, detector or segmentor',
    'test': 'evaluate a checkpoint',
    'demo': 'draw what a model sees in images',
    'web': 'show predictions, feature maps, kernels and receptive fields in a browser',
    'check': 'check the data of a config, and show what it holds',
    'browse': 'draw what the pipeline of a config feeds the model',
    'flops': 'count multiply-accumulates and parameters',
    'convert': 'convert official checkpoints',
    'export': 'write a model as ONNX or a program of torch.export',
    'list': 'list architectures, configs and published weights',
    'tool': 'run a script of mmdet, mmseg or mmpretrain',
}
"""What each command does, by its name; the command ``x`` is the module ``mmhyena.cli.x``."""

_MODULES = {'list': 'list_models'}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command that ``argv`` names, and return its exit code.

    Args:
        argv: Command and arguments; None takes those of the process.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    if not argv or argv[0] in ('-h', '--help'):
        sys.stdout.write(_usage())
        return 0
    if argv[0] in ('-V', '--version'):
        sys.stdout.write(f'mmhyena {__version__}\n')
        return 0
    name = argv[0]
    if name not in COMMANDS:
        close = difflib.get_close_matches(name, COMMANDS, n=1)
        hint = f'did you mean {close[0]}?' if close else f'choose one of {", ".join(COMMANDS)}'
        sys.stderr.write(f'error: mmhyena has no command {name!r}: {hint}\n')
        return 2
    command = importlib.import_module(f'mmhyena.cli.{_MODULES.get(name, name)}')
    return command.main(argv[1:], prog=f'mmhyena {name}')


def _usage() -> str:
    width = max(map(len, COMMANDS))
    lines = [f'  {name:{width}}  {summary}' for name, summary in COMMANDS.items()]
    return '\n'.join(
        [
            'usage: mmhyena COMMAND [ARGUMENT...]',
            '',
            *lines,
            '',
            'mmhyena COMMAND --help lists the arguments of a command, python -m mmhyena.compat what is installed.',
            '',
        ]
    )


if __name__ == '__main__':
    sys.exit(main())
