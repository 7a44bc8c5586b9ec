"""Check the data of a config: python tools/dataset_checks/check_dataset.py CONFIG.

The same as ``mmhyena check``.
"""

import sys

from mmhyena.cli.check import main

if __name__ == '__main__':
    sys.exit(main())
