"""The module `mosaic.compat.at_exit`, by its name in mosaic 1.2."""

import sys

from mosaic.compat import at_exit

sys.modules[__name__] = at_exit
