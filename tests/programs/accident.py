"""What may befall a worker in the middle of an inversion."""

import os
import signal

from tests.support.rendezvous import Flag


class Accident:
    """Kills the worker that does something for the first time.

    Parameters
    ----------
    when : str
        ``forward`` or ``adjoint``.
    shot : int
        For which shot.
    flag : Flag
        States that it has happened.
    """

    def __init__(self, when, shot, flag: Flag):
        self.when = when
        self.shot = shot
        self.flag = flag

    def happen(self, when, shot):
        if (when, shot) == (self.when, self.shot) and self.flag.set_first():
            os.kill(os.getpid(), signal.SIGKILL)
