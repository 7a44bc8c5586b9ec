"""Draw what a model sees: python demo/image_demo.py IMAGES MODEL [CHECKPOINT].

The same as ``mmhyena demo``.
"""

import sys

from mmhyena.cli.demo import main

if __name__ == '__main__':
    sys.exit(main())
