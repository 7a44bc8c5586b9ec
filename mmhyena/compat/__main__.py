"""Runs a script or module with the fallback for ``mmcv._ext`` in place; alone, prints the environment.

The toolkits' own tools import ``mmcv.ops`` before they read a config, so that no config can help where mmcv has no
compiled operators. ``python -m mmhyena.compat`` in front of them does: importing mmhyena has installed the fallback by
the time that the script starts. Configs may inherit from ``mmhyena::`` there as well.
"""

import importlib.util
import runpy
import sys
from pathlib import Path

from mmhyena.compat import environment_report
from mmhyena.compat.config_packages import register_config_packages
from mmhyena.compat.distributions import opencv_warning

USAGE = """\
usage: python -m mmhyena.compat SCRIPT [ARGS...]
       python -m mmhyena.compat -m MODULE [ARGS...]
       python -m mmhyena.compat

Run SCRIPT or MODULE as python would, with mmhyena imported first, so that tools that import mmcv.ops work where mmcv
has no compiled operators. Without arguments, print what is installed. For several processes:
torchrun --nproc_per_node N -m mmhyena.compat SCRIPT [ARGS...]
"""


def main() -> None:
    """Do what ``sys.argv`` says; exits with status 2 if there is nothing to run."""
    args = sys.argv[1:]
    if not args:
        report = environment_report()
        width = max(map(len, report))
        sys.stdout.writelines(f'{key:{width}}  {value}\n' for key, value in report.items())
        if (warning := opencv_warning()) is not None:
            sys.stderr.write(f'warning: {warning}\n')
    elif args[0] in ('-h', '--help'):
        sys.stdout.write(USAGE)
    elif args[0] == '-m':
        run_module(args[1:])
    elif args[0].startswith('-'):
        _fail(f'unknown option {args[0]!r}; see `python -m mmhyena.compat --help`')
    else:
        run_script(args)


def run_script(argv: list[str]) -> None:
    """Run the file ``argv[0]`` as ``python argv[0] ...`` would."""
    script = Path(argv[0])
    if not script.is_file():
        _fail(f'no such script: {script}')
    _prepare()
    sys.argv = argv
    if not (sys.flags.isolated or getattr(sys.flags, 'safe_path', False)):  # then there is no folder in front
        sys.path[0] = str(script.resolve().parent)
    runpy.run_path(str(script), run_name='__main__')


def run_module(argv: list[str]) -> None:
    """Run the module or package ``argv[0]`` as ``python -m argv[0] ...`` would."""
    if not argv:
        _fail('-m needs the name of a module')
    if not _module_exists(argv[0]):
        _fail(f'no module named {argv[0]}')
    _prepare()
    sys.argv = argv
    runpy.run_module(argv[0], run_name='__main__', alter_sys=True)


def _prepare() -> None:
    if importlib.util.find_spec('mmengine') is not None:
        register_config_packages()


def _module_exists(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError as error:
        if f'{name}.'.startswith(f'{error.name}.'):
            return False
        raise


def _fail(message: str) -> None:
    sys.stderr.write(f'mmhyena.compat: {message}\n')
    sys.exit(2)


if __name__ == '__main__':
    main()
