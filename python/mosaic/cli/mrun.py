"""``mrun``: starts monitor, node and workers on this machine, and runs a program that joins them."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

from mosaic import _core
from mosaic._version import __version__
from mosaic.cli import hosts
from mosaic.cli.command import NOT_FOUND, NOT_RUNNABLE, Command, Signals, split_command
from mosaic.cli.findomp import find_by_variables, preload
from mosaic.cli.options import LATER, fail, parse
from mosaic.errors import MosaicError
from mosaic.launcher import key
from mosaic.launcher.join import NAME, VARIABLE
from mosaic.launcher.recording import WORKSPACE

START_LIMIT = 60.0
"""Seconds that the node agent may take to start."""

_AGENT = "import sys; sys.path[:] = sys.argv[1].split(':'); from mosaic._core import run_agent; run_agent()"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``mrun``.

    Parameters
    ----------
    arguments : sequence of str, optional
        The command line; default is that of this process.

    Returns
    -------
    int
        The exit code: the command's, or 128 and the number of the signal that ended it; 1 when mosaic could not start,
        2 for a wrong command line, 126 and 127 for a command that cannot be run or is not there.
    """
    options = parse(arguments, os.environ)
    check(options)
    try:
        if options.role == "head":
            return _run_head(options)
        if options.daemon:
            return _start_daemon(options)
        if options.role == "monitor":
            return _keep(options)
        return _run(options)
    except MosaicError as error:
        say(str(error))
        return 1


def say(text: str) -> None:
    """Print a message to standard error."""
    # The reader has closed it.
    with contextlib.suppress(OSError, ValueError, AttributeError):
        print(f"mrun: {text}", file=sys.stderr, flush=True)


def check(options: argparse.Namespace) -> None:
    """Refuse, with a usage error, what cannot be had on one machine or makes no sense."""
    if options.role == "node":
        fail(
            f"--node starts the node of another machine: {LATER}, and mrun itself starts the node of this one"
        )
    if options.role == "monitor" and options.command:
        fail(
            "--monitor runs no command: start the program by itself, or with mrun --head, in this directory"
        )
    if options.role == "head" and (options.daemon or options.inproc):
        fail("--head joins what runs already, and starts no monitor")
    if options.inproc and options.daemon:
        fail("--daemon and --inproc exclude each other")
    if not options.command and options.role != "monitor" and not options.daemon:
        fail("a command is needed, such as: mrun -nw 4 python script.py")
    if options.indices not in {None, "0"}:
        fail(f"-i {options.indices}: the node of this machine is 0; {LATER}")
    if options.dynamic:
        fail(f"--dynamic waits for nodes on other machines: {LATER}")
    if options.reuse_head is False:
        fail(f"--free-head leaves the workers to other machines: {LATER}")
    for name in ("address", "monitor_address"):
        address = getattr(options, name)
        if address is not None and not hosts.is_here(address, os.environ):
            fail(f"--{name.replace('_', '-')} {address} is not this machine: {LATER}")
    for name in ("port", "monitor_port"):
        if getattr(options, name) is not None:
            say(
                f"--{name.replace('_', '-')} is of no use: on one machine nothing listens on a port"
            )
    _check_nodes(options)


def _check_nodes(options: argparse.Namespace) -> None:
    if (options.nodes or 1) > 1:
        fail(f"-n {options.nodes}: {LATER}")
    try:
        given = hosts.given(os.environ)
    except ValueError as error:
        fail(str(error))
    if given is None:
        return
    variable, names = given
    if len(names) > 1 and options.nodes is None:
        fail(
            f"{variable} names {len(names)} machines ({', '.join(names[:8])}): {LATER}; "
            "ask for one, or say -n 1 to use this one only"
        )
    if not any(hosts.is_here(name, os.environ) for name in names):
        fail(
            f"{variable} names {', '.join(names[:8])}, but this machine is {socket.gethostname()}: "
            f"start mrun there; {LATER}"
        )


def _make_key(options: argparse.Namespace, directory: str, *, commanded: bool) -> key.Key:
    from mosaic.runtime.head import default_workers
    from mosaic.system.cpu import cpu_count

    threads = options.threads or 1
    workers = options.workers or default_workers(threads)
    cores = cpu_count()
    if workers * threads > cores and (options.workers or options.threads):
        say(
            f"{workers} workers with {threads} threads each are more than the {cores} cores that this process "
            "may use: they have to share them"
        )
    return key.Key(
        directory=directory,
        pid=os.getpid(),
        host=socket.gethostname(),
        protocol=_core.PROTOCOL_VERSION,
        version=__version__,
        commanded=commanded,
        num_workers=workers,
        num_threads=threads,
        allocated_workers=options.workers is not None,
        allocated_threads=options.threads is not None,
        mode=options.mode or ("local" if hosts.given(os.environ) is None else "cluster"),
        log_level=options.log_level,
        profile=bool(options.profile),
    )


class _Place:
    """The monitor of this process, and the key that tells programs of it.

    Parameters
    ----------
    options : Namespace
        The options of ``mrun``.
    commanded : bool
        Whether the workers belong to a command that is about to be run.

    Raises
    ------
    MosaicError
        Others could write to the folder of the key, or it belongs to another that runs.
    """

    def __init__(self, options: argparse.Namespace, *, commanded: bool) -> None:
        try:
            folder = Path.cwd() / WORKSPACE
            folder.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise MosaicError(
                f"{WORKSPACE} cannot be made in the working directory: {error.strerror}"
            ) from None
        key.own_folder(os.fspath(folder))
        own = folder / f"monitor-{os.getpid()}.key"
        self.path = folder / NAME
        self.monitor = _core.Monitor()
        self._directory = os.fspath(self.monitor.directory)
        try:
            made = _make_key(options, self._directory, commanded=commanded)
            self.path, said = key.place(made, self.path, own)
            if said:
                say(said)
            if self.path == own and not commanded:
                raise MosaicError(
                    "programs could not find this one: stop the other first, or use another directory"
                )
            agent = [sys.executable, "-c", _AGENT, ":".join(sys.path)]
            self.monitor.start(None if options.inproc else agent, self.path)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End all that was started; nothing of it is left on disk."""
        self.monitor.stop()
        key.remove(self.path, self._directory)


def _environment(path: Path, options: argparse.Namespace) -> dict[str, str]:
    """Return the variables for the command's environment."""
    variables = {VARIABLE: os.fspath(path)}
    if options.log_level is not None:
        variables["MOSAIC_LOG_LEVEL"] = options.log_level
    if options.profile and not os.environ.get("MOSAIC_PROFILE"):
        variables["MOSAIC_PROFILE"] = "1"
    library = find_by_variables(os.environ)
    if library is not None:
        # Only here: a compiler that happens to be on the path says nothing about the program.
        variables["LD_PRELOAD"] = preload(os.environ, library)
    return variables


def _run(options: argparse.Namespace) -> int:
    signals = Signals()
    place = _Place(options, commanded=True)
    try:
        return _run_command(options.command, _environment(place.path, options), signals, place)
    finally:
        place.stop()


def _run_command(
    arguments: Sequence[str],
    environment: dict[str, str],
    signals: Signals,
    place: _Place | None = None,
) -> int:
    assignments, arguments = split_command(arguments)
    if not arguments:
        say(f"a command is needed after {' '.join(f'{name}=…' for name in assignments)}")
        return NOT_FOUND
    try:
        command = Command(arguments, {**environment, **assignments}, signals)
    except FileNotFoundError:
        say(f"cannot run {arguments[0]}: there is no such program")
        return NOT_FOUND
    except OSError as error:
        say(f"cannot run {arguments[0]}: {error.strerror or error}")
        return NOT_RUNNABLE
    if place is not None:
        place.monitor.guard(command.pid)
    code = command.wait()
    command.end_the_rest()
    if place is not None:
        place.monitor.guard(None)
    return code


def _run_head(options: argparse.Namespace) -> int:
    """Run a command with the monitor that runs in this directory."""
    path = os.path.join(os.getcwd(), WORKSPACE, NAME)
    try:
        found = key.read(path)
    except FileNotFoundError:
        raise MosaicError(f"no mrun runs here: there is no {path}") from None
    if not found.alive:
        raise MosaicError(f"no mrun runs here: {path} is left over from process {found.pid}")
    return _run_command(options.command, _environment(Path(path), options), Signals())


def _keep(options: argparse.Namespace) -> int:
    """Keep monitor and node until a signal ends them."""
    signals = Signals()
    place = _ready_place(options)
    try:
        say(f"monitor and node run (process {os.getpid()}); programs in this directory join them")
        return _wait_for_end(signals)
    finally:
        place.stop()


def _ready_place(options: argparse.Namespace) -> _Place:
    place = _Place(options, commanded=False)
    try:
        place.monitor.wait_ready(START_LIMIT)
    except TimeoutError:
        place.stop()
        raise MosaicError(f"the node agent has not started in {START_LIMIT:.0f} s") from None
    except BaseException:
        place.stop()
        raise
    return place


def _wait_for_end(signals: Signals) -> int:
    while True:
        number = signals.wait()
        if number in {signal.SIGTERM, signal.SIGHUP}:
            return 0
        if number in {signal.SIGINT, signal.SIGQUIT}:
            return 128 + int(number)


def _start_daemon(options: argparse.Namespace) -> int:
    """Start monitor and node in the background, and run the command with them if there is one."""
    reading, writing = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    if os.fork() == 0:
        os.close(reading)
        _be_daemon(options, writing)
    os.close(writing)
    with os.fdopen(reading) as answer:
        *said, last = answer.read().splitlines() or [""]
    for line in said:
        print(line, file=sys.stderr)
    word, _, text = last.partition(" ")
    if word != "ready":
        raise MosaicError(text or "the monitor ended before it was ready")
    pid, _, path = text.partition(" ")
    say(f"monitor and node run in the background (process {pid}); stop them with: kill {pid}")
    if not options.command:
        return 0
    return _run_command(options.command, _environment(Path(path), options), Signals())


def _be_daemon(options: argparse.Namespace, answer: int) -> None:
    """Be the process in the background; does not return."""
    code = 1
    try:
        os.setsid()
        # Nothing that it starts holds what the one in the foreground was started with.
        nothing = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(nothing, stream)
        # What is said until it is ready is said by the other.
        with os.fdopen(answer, "w") as sys.stderr:
            signals = Signals()
            try:
                place = _ready_place(options)
            except MosaicError as error:
                print(f"failed {error}", file=sys.stderr)
                return
            print(f"ready {os.getpid()} {place.path}", file=sys.stderr)
        code = _wait_for_end(signals)
        place.stop()
    finally:
        os._exit(code)


if __name__ == "__main__":
    sys.exit(main())
