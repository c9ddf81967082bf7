"""What ``mrun`` is told: options of the command line, each also a variable of the environment."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from typing import NoReturn

VARIABLES = {
    "role": "MOSAIC_ROLE",
    "indices": "MOSAIC_INDICES",
    "daemon": "MOSAIC_DAEMON",
    "inproc": "MOSAIC_INPROC",
    "nodes": "MOSAIC_NUM_NODES",
    "workers": "MOSAIC_NUM_WORKERS",
    "threads": "MOSAIC_NUM_THREADS",
    "address": "MOSAIC_ADDRESS",
    "port": "MOSAIC_PORT",
    "monitor_address": "MOSAIC_MONITOR_ADDRESS",
    "monitor_port": "MOSAIC_MONITOR_PORT",
    "pubsub_port": "MOSAIC_PUBSUB_PORT",
    "mode": "MOSAIC_MODE",
    "reuse_head": "MOSAIC_REUSE_HEAD",
    "dynamic": "MOSAIC_DYNAMIC",
    "log_level": "MOSAIC_LOG_LEVEL",
    "profile": "MOSAIC_PROFILE",
}
"""The variable of each option; the command line counts for more."""

OTHER_NAMES = {"monitor_address": "MOSAIC_MONITOR_HOST"}
"""Variables that mean the same."""

LOG_LEVELS = ("debug", "perf", "info", "warning", "error")
_YES = frozenset({"1", "true", "yes", "on"})
_NO = frozenset({"0", "false", "no", "off"})


def parser() -> argparse.ArgumentParser:
    """Return the parser of ``mrun``'s command line."""
    made = argparse.ArgumentParser(
        prog="mrun",
        usage="mrun [options] COMMAND...",
        description="Start monitor, node and workers on this machine, and run a program that joins them.",
        epilog="Each option is also a variable of the environment: "
        + ", ".join(sorted(VARIABLES.values()))
        + ".",
        allow_abbrev=False,
    )
    role = made.add_mutually_exclusive_group()
    for name, text in (
        ("head", "run COMMAND with the monitor that runs in this directory already"),
        ("monitor", "start monitor and node only, and keep them until a signal ends them"),
        ("node", "start the node of another machine (several machines come later)"),
    ):
        role.add_argument(f"--{name}", dest="role", action="store_const", const=name, help=text)
    made.add_argument(
        "-i", "--indices", metavar="INDICES", help="the number of this node: 0 on one machine"
    )
    where = made.add_mutually_exclusive_group()
    _flag(where, "--daemon", text="keep monitor and node in the background until they are stopped")
    _flag(where, "--inproc", text="keep monitor and node in mrun's own process")
    made.add_argument("-n", "--nodes", "--num-nodes", dest="nodes", type=count, help="machines: 1")
    made.add_argument(
        "-nw",
        "--workers",
        "--num-workers",
        dest="workers",
        type=count,
        help="workers; by default the physical cores over the threads of each",
    )
    made.add_argument(
        "-nth",
        "--threads",
        "--num-threads",
        dest="threads",
        type=count,
        help="threads that a worker's numerical libraries may use (1)",
    )
    for name in ("address", "monitor-address"):
        made.add_argument(f"--{name}", metavar="A", help="this machine; only it is used")
    for name in ("port", "monitor-port", "pubsub-port"):
        made.add_argument(f"--{name}", metavar="P", type=_port, help="on one machine none is used")
    mode = made.add_mutually_exclusive_group()
    for short, name in (("-l", "local"), ("-c", "cluster")):
        mode.add_argument(
            short,
            f"--{name}",
            dest="mode",
            action="store_const",
            const=name,
            help=f"runtime.mode is {name!r}" + (" (the default)" if name == "cluster" else ""),
        )
    reuse = made.add_mutually_exclusive_group()
    reuse.add_argument(
        "-rh",
        "--reuse-head",
        dest="reuse_head",
        action="store_const",
        const=True,
        help="the head's machine has workers (so it does on one machine)",
    )
    reuse.add_argument(
        "-fh",
        "--free-head",
        dest="reuse_head",
        action="store_const",
        const=False,
        help="the head's machine has none (several machines come later)",
    )
    _flag(made, "--dynamic", text="nodes may come and go (several machines come later)")
    level = made.add_mutually_exclusive_group()
    for name in ("perf", "info", "debug", "error"):
        level.add_argument(
            f"--{name}",
            dest="log_level",
            action="store_const",
            const=name,
            help=f"show messages from level {name} on",
        )
    _flag(made, "--profile", text="have the program profiled")
    made.add_argument("command", nargs=argparse.REMAINDER, metavar="COMMAND", help="the program")
    return made


def _flag(to: argparse._ActionsContainer, name: str, *, text: str) -> None:
    to.add_argument(name, action="store_const", const=True, help=text)


def parse(arguments: Sequence[str] | None, environment: Mapping[str, str]) -> argparse.Namespace:
    """Return what the command line says, and where it is silent the environment.

    Parameters
    ----------
    arguments : sequence of str, optional
        The command line; default is that of this process.
    environment : mapping
        The variables.

    Returns
    -------
    Namespace
        An attribute for each option of `VARIABLES`, None where nothing was said; ``command``, a list.

    Raises
    ------
    SystemExit
        Something was wrong: with code 2, after the message.
    """
    made = parser()
    options = made.parse_args(arguments)
    if options.command[:1] == ["--"]:
        del options.command[0]
    if options.command and options.command[0].startswith("-"):
        made.error(f"there is no option {options.command[0]}")
    for name, variable in VARIABLES.items():
        if getattr(options, name) is not None or _excluded(name, options):
            continue
        for one in (variable, OTHER_NAMES.get(name, variable)):
            text = environment.get(one, "").strip()
            if text:
                try:
                    setattr(options, name, _CONVERTERS.get(name, str)(text))
                except argparse.ArgumentTypeError as error:
                    made.error(f"{one}: {error}")
                break
    return options


def _excluded(name: str, options: argparse.Namespace) -> bool:
    """Tell whether the command line has said the opposite of an option."""
    return (name == "daemon" and bool(options.inproc)) or (
        name == "inproc" and bool(options.daemon)
    )


def fail(text: str) -> NoReturn:
    """End with a usage error."""
    parser().error(text)


def count(text: str) -> int:
    """Return a whole number from 1 on, given as text.

    Raises
    ------
    ArgumentTypeError
        It is none.
    """
    number = int(text) if text.isascii() and text.isdigit() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"a whole number from 1 on is needed, not {text!r}")
    return number


def _port(text: str) -> int:
    number = int(text) if text.isascii() and text.isdigit() else -1
    if not 0 <= number < 1 << 16:
        raise argparse.ArgumentTypeError(f"a port is a number from 0 to 65535, not {text!r}")
    return number


def _switch(text: str) -> bool:
    if text.lower() in _YES:
        return True
    if text.lower() in _NO:
        return False
    raise argparse.ArgumentTypeError(f"1 or 0 is needed, not {text!r}")


def _one_of(*names: str) -> Callable[[str], str]:
    def convert(text: str) -> str:
        if text.lower() not in names:
            raise argparse.ArgumentTypeError(f"one of {', '.join(names)} is needed, not {text!r}")
        return text.lower()

    return convert


_CONVERTERS: dict[str, Callable[[str], object]] = {
    "role": _one_of("head", "monitor", "node"),
    "daemon": _switch,
    "inproc": _switch,
    "nodes": count,
    "workers": count,
    "threads": count,
    "port": _port,
    "monitor_port": _port,
    "pubsub_port": _port,
    "mode": _one_of("local", "cluster"),
    "reuse_head": _switch,
    "dynamic": _switch,
    "log_level": _one_of(*LOG_LEVELS),
    "profile": _switch,
}
