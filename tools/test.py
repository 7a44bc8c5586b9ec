"""Evaluate a checkpoint of a classifier, detector or segmentor: python tools/test.py CONFIG CHECKPOINT.

The same as ``mmhyena test``.
"""

import sys

from mmhyena.cli.test import main

if __name__ == '__main__':
    sys.exit(main())
