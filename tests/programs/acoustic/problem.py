"""Shots, acquisitions and the problem that they make together; their files."""

import numpy as np

from mosaic import h5
from mosaic.types import Struct


class Shot:
    """One source and the receivers that listen to it.

    Parameters
    ----------
    id : int
        Its number.
    source : ndarray
        The point of the grid where the source is.
    receivers : ndarray
        Those of the receivers, one a row.
    observed : ndarray, optional
        What each receiver heard, a column each.
    """

    def __init__(self, id, source, receivers, observed=None):
        self.id = id
        self.source = np.asarray(source)
        self.receivers = np.asarray(receivers)
        self.observed = observed


class Acquisitions:
    """The shots of an experiment."""

    def __init__(self):
        self.shots = {}

    def load(self, *args, **kwargs):
        """Read them; arrays are read where they are, a shot at a time."""
        with h5.HDF5(*args, **kwargs, parameter="acquisitions", mode="r") as file:
            content = file.load(only=["shots"])
            for shot in content.shots:
                self.shots[int(shot.id)] = Shot(
                    int(shot.id),
                    shot.source.load(),
                    shot.receivers.load(),
                    shot.observed.load() if "observed" in shot else None,
                )

    def get(self, id):
        return self.shots[id]

    @property
    def ids(self):
        return sorted(self.shots)


class Problem:
    """A grid, the acquisitions on it, and where its files are."""

    def __init__(self, *args, **kwargs):
        self.name = kwargs.pop("name")
        self.grid = kwargs.pop("grid")
        self.folder = kwargs.pop("folder")
        self.acquisitions = Acquisitions()

    def load(self):
        self.acquisitions.load(path=self.folder, project_name=self.name)

    def sub_problem(self, id):
        """Return what a worker needs to know of one shot: all but what was observed."""
        shot = self.acquisitions.get(id)
        return Struct({"name": self.name, "shot": Shot(shot.id, shot.source, shot.receivers)})

    def load_field(self, field):
        with h5.HDF5(path=self.folder, project_name=self.name, parameter=field.name) as file:
            field.data = file.load(lazy=False).data

    def dump_field(self, field, version):
        description = {
            "name": field.name,
            "data": field.data,
            "version": version,
            "space": {"shape": list(field.grid.shape), "spacing": field.grid.spacing},
            "history": None,
        }
        with h5.HDF5(
            path=self.folder,
            project_name=self.name,
            parameter=field.name,
            version=version,
            mode="w",
        ) as file:
            file.dump(description)

    def append_history(self, field, version, history):
        with h5.HDF5(
            path=self.folder,
            project_name=self.name,
            parameter=field.name,
            version=version,
            mode="a",
        ) as file:
            file.append({"history": list(history)})
