"""Draw what the pipeline of a config feeds the model: python tools/analysis_tools/browse_dataset.py CONFIG.

The same as ``mmhyena browse``.
"""

import sys

from mmhyena.cli.browse import main

if __name__ == '__main__':
    sys.exit(main())
