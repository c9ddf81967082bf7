"""The commands: ``mrun``, ``mscript``, ``findomp``, ``imrun``, ``mprof``; a module each, with a function ``main``."""
