"""Convert official checkpoints: python tools/model_converters/official_to_mmhyena.py SRC DST.

The same as ``mmhyena convert``.
"""

import sys

from mmhyena.cli.convert import main

if __name__ == '__main__':
    sys.exit(main())
