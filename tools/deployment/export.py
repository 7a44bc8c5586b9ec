"""Write a model to an ONNX file or a program of torch.export: python tools/deployment/export.py CONFIG [CHECKPOINT].

The same as ``mmhyena export``.
"""

import sys

from mmhyena.cli.export import main

if __name__ == '__main__':
    sys.exit(main())
