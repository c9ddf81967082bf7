"""The commands: each module has a ``main``, named in ``pyproject.toml``."""
