"""A program for mosaic 1.2: ``python invert.py``, or ``mrun -nw 4 python invert.py``, in the folder of the experiment.

Before it imports mosaic it sets a signal handler and forks a helper, as compilers that run beside a program do; at
the end both must be what they were.
"""

import os
import signal
import sys


def serve(commands, answers):
    """Do what the helper does: answer each line until there are none."""
    for line in os.fdopen(commands):
        os.write(answers, f"compiled {line}".encode())
    os._exit(0)


def start_helper():
    commands, ours = os.pipe()
    theirs, answers = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(ours)
        os.close(theirs)
        serve(commands, answers)
    os.close(commands)
    os.close(answers)
    return pid, os.fdopen(ours, "w"), os.fdopen(theirs)


received = []


def handler(number, frame):
    received.append(number)


signal.signal(signal.SIGUSR1, handler)
helper, commands, answers = start_helper()

import numpy as np  # noqa: E402

import mosaic  # noqa: E402
from tests.programs.accident import Accident  # noqa: E402
from tests.programs.acoustic.inversion import main as invert  # noqa: E402
from tests.support.rendezvous import Flag  # noqa: E402


def largest(vp):
    return float(np.max(vp))


async def main(runtime):
    when = os.environ.get("ACOUSTIC_ACCIDENT")
    accident = Accident(when, 3, Flag("killed")) if when else None
    found = await invert(runtime, accident=accident)
    # Away from the runtime, in a process of its own.
    print("largest", mosaic.subprocess(largest, start=True)(found.vp).result() == np.max(found.vp))
    np.save("result.npy", found.vp)
    print("mode", runtime.mode)
    print("workers", runtime.num_workers)
    print("history", *found.history)


if __name__ == "__main__":
    options = {"num_workers": int(sys.argv[1])} if len(sys.argv) > 1 else {}
    mosaic.run(main, **options)
    assert signal.getsignal(signal.SIGUSR1) is handler
    os.kill(os.getpid(), signal.SIGUSR1)
    print("received", received == [signal.SIGUSR1])
    commands.write("kernel\n")
    commands.flush()
    print(answers.readline().strip())
    commands.close()
    print("helper", os.waitpid(helper, 0)[1])
