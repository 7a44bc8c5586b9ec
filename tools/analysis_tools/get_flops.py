"""Count the multiply-accumulates of a model: python tools/analysis_tools/get_flops.py CONFIG.

The same as ``mmhyena flops``.
"""

import sys

from mmhyena.cli.flops import main

if __name__ == '__main__':
    sys.exit(main())
