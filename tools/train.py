"""Train a classifier, detector or segmentor: python tools/train.py CONFIG.

The same as ``mmhyena train``.
"""

import sys

from mmhyena.cli.train import main

if __name__ == '__main__':
    sys.exit(main())
