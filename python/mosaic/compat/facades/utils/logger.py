"""The module `mosaic.log`, by its name in mosaic 1.2: programs read its ``log_level`` late."""

import sys

from mosaic import log

sys.modules[__name__] = log
