"""Look into a model in a browser: python demo/web_demo.py MODEL [CHECKPOINT] [--model MODEL CHECKPOINT ...].

The same as ``mmhyena web``.
"""

import sys

from mmhyena.cli.web import main

if __name__ == '__main__':
    sys.exit(main())
