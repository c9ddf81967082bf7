"""The commands ``mrun``, ``mscript``, ``findomp``, ``imrun`` and ``mprof``: a module each, with a function ``main``."""

# Where a package of mosaic 1.2 lies.
__path__ = [*__path__, f"{__path__[0]}/../compat/facades/cli"]
