"""Look into trained models in a browser: predictions, feature maps, learned kernels and the receptive field of a pixel.

Needs the extra web: pip install 'mmhyena[web]'. The page is served to this machine alone unless --host says otherwise.

Examples:
    mmhyena web CONFIG CHECKPOINT
    mmhyena web CONFIG_A CHECKPOINT_A --model CONFIG_B CHECKPOINT_B --device cuda --port 8080
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence

from mmhyena.utils.cli import add_verbose_argument, prepare_process, run_cli


def parse_args(argv: Sequence[str] | None = None, prog: str | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        prog=prog, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('model', help='config file the model was trained with, or its name in the model index')
    parser.add_argument('checkpoint', nargs='?', help='weights (default: those that the model index names)')
    parser.add_argument(
        '--model',
        nargs='+',
        action='append',
        default=[],
        dest='models',
        metavar=('MODEL', 'CHECKPOINT'),
        help='another model to choose from; may be given several times',
    )
    parser.add_argument('--device', help="'cpu', 'cuda', 'cuda:1', ... (default: an accelerator if there is one)")
    parser.add_argument('--host', default='127.0.0.1', help='address to serve at (default: 127.0.0.1, this machine)')
    parser.add_argument('--port', type=int, default=7860, help='port to serve at (default: 7860)')
    add_verbose_argument(parser)
    args = parser.parse_args(argv)
    if any(len(model) > 2 for model in args.models):
        parser.error('--model takes a MODEL and its CHECKPOINT: give the option once per model')
    if not 1 <= args.port <= 65535:
        parser.error(f'--port {args.port}: give a number from 1 to 65535')
    args.models = [(args.model, args.checkpoint), *((model[0], *model[1:], None)[:2] for model in args.models)]
    return args


def run(args: argparse.Namespace) -> None:
    """Load the first model and serve the page until it is interrupted."""
    os.environ.setdefault('GRADIO_ANALYTICS_ENABLED', 'False')  # nothing is asked for or sent elsewhere
    from mmhyena.analysis.explorer import ModelShelf
    from mmhyena.cli.web_page import serve

    shelf = ModelShelf(args.models, args.device)
    shelf.get(shelf.names[0])
    serve(shelf, args.host, args.port)


def main(argv: Sequence[str] | None = None, prog: str | None = None) -> int:
    """Serve the page, and return the exit code."""
    args = parse_args(argv, prog)
    prepare_process()
    return run_cli(lambda: run(args))
