"""The module `mosaic.compat.subprocess`, by its name in mosaic 1.2."""

import sys

from mosaic.compat import subprocess

sys.modules[__name__] = subprocess
