"""The commands: ``mrun``, ``mscript``, ``findomp``, ``imrun``; a module each, with a function ``main``."""
