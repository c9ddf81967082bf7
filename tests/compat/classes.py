"""The first two classes of a hierarchy as programs of mosaic 1.2 have it: each takes what it knows of the keywords."""

import mosaic


@mosaic.tessera
class Base:
    def __init__(self, *args, **kwargs):
        self.name = kwargs.pop("name", "base")
        self.args = args
        self.left = kwargs

    def kind(self):
        return type(self).__name__

    def described(self):
        return self.kind(), self.name, self.args, self.left


@mosaic.tessera
class Gridded(Base):
    def __init__(self, *args, **kwargs):
        self.grid = kwargs.pop("grid", None)
        super().__init__(*args, **kwargs)

    def shape(self):
        return self.grid
