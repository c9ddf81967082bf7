"""The module `mosaic.compat.event_loop`, by its name in mosaic 1.2."""

import sys

from mosaic.compat import event_loop

sys.modules[__name__] = event_loop
