"""The options of ``mrun``: those of the command line, each also a variable of the environment.

The variable of ``--monitor-port`` is ``MOSAIC_MONITOR_PORT``, and so on; a switch is 1 or 0. The command line counts
for more than the variables.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NoReturn

from mosaic.launcher.recording import NO, YES
from mosaic.log import LEVELS

LATER = "several machines come later, this version runs on one"
"""What is said to who asks for more."""

MODES = ("local", "cluster")


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
    if text.lower() in YES:
        return True
    if text.lower() in NO:
        return False
    raise argparse.ArgumentTypeError(f"1 or 0 is needed, not {text!r}")


def _profile(text: str) -> bool:
    # Beside a switch it may be the path of the file, which is for the program to read.
    return text.lower() not in NO


def _one_of(*names: str) -> Callable[[str], str]:
    def convert(text: str) -> str:
        if text.lower() not in names:
            raise argparse.ArgumentTypeError(f"one of {', '.join(names)} is needed, not {text!r}")
        return text.lower()

    return convert


@dataclass(frozen=True)
class Option:
    """An option.

    Parameters
    ----------
    name : str
        Its attribute.
    spellings : tuple of str
        On the command line.
    help : str
        What it does.
    metavar : str
        Of its value; empty for a switch.
    value : object
        What a switch stands for. Switches of one name exclude each other.
    convert : callable
        Text to its value; of a switch, to whether it is on.
    """

    name: str
    spellings: tuple[str, ...]
    help: str
    metavar: str = ""
    value: object = True
    convert: Callable[[str], object] = _switch


_NODES = "(several machines come later)"
_UNUSED = "on one machine none is used"

OPTIONS = (
    Option(
        "role", ("--head",), "run COMMAND with the monitor that runs here already", value="head"
    ),
    Option("role", ("--monitor",), "start monitor and node only, until a signal", value="monitor"),
    Option("role", ("--node",), f"start the node of another machine {_NODES}", value="node"),
    Option("indices", ("-i", "--indices"), "the number of this node: 0", "INDICES", convert=str),
    Option("daemon", ("--daemon",), "keep monitor and node in the background until stopped"),
    Option("inproc", ("--inproc",), "keep monitor and node in mrun's own process"),
    Option("nodes", ("-n", "--nodes", "--num-nodes"), "machines: 1", "NODES", convert=count),
    Option(
        "workers",
        ("-nw", "--workers", "--num-workers"),
        "workers; by default the physical cores over the threads of each",
        "WORKERS",
        convert=count,
    ),
    Option(
        "threads",
        ("-nth", "--threads", "--num-threads"),
        "threads that a worker's numerical libraries may use (1)",
        "THREADS",
        convert=count,
    ),
    Option("address", ("--address",), "this machine; only it is used", "A", convert=str),
    Option("port", ("--port",), _UNUSED, "P", convert=_port),
    Option(
        "monitor_address", ("--monitor-address", "--monitor-host"), "likewise", "A", convert=str
    ),
    Option("monitor_port", ("--monitor-port",), _UNUSED, "P", convert=_port),
    Option("pubsub_port", ("--pubsub-port",), _UNUSED, "P", convert=_port),
    Option("mode", ("-l", "--local"), "runtime.mode is 'local'", value="local"),
    Option(
        "mode",
        ("-c", "--cluster"),
        "runtime.mode is 'cluster'; by default it is in a scheduler's job, else 'local'",
        value="cluster",
    ),
    Option("reuse_head", ("-rh", "--reuse-head"), "the head's machine has workers (it does)"),
    Option("reuse_head", ("-fh", "--free-head"), f"it has none {_NODES}", value=False),
    Option("dynamic", ("--dynamic",), f"nodes may come and go {_NODES}"),
    Option("log_level", ("--perf",), "show messages from level perf on", value="perf"),
    Option("log_level", ("--info",), "from level info on", value="info"),
    Option("log_level", ("--debug",), "from level debug on", value="debug"),
    Option("log_level", ("--error",), "from level error on", value="error"),
    Option("profile", ("--profile",), "have the program profiled", convert=_profile),
)

NAMED = {
    "MOSAIC_LOG_LEVEL": ("log_level", _one_of(*LEVELS)),
    "MOSAIC_MODE": ("mode", _one_of(*MODES)),
}
"""Variables that say in one word what several switches say."""


def variables(option: Option) -> list[str]:
    """Return the variables that stand for an option."""
    long = (name for name in option.spellings if name.startswith("--"))
    return ["MOSAIC_" + name[2:].replace("-", "_").upper() for name in long]


def parser() -> argparse.ArgumentParser:
    """Return the parser of ``mrun``'s command line."""
    made = argparse.ArgumentParser(
        prog="mrun",
        usage="mrun [options] COMMAND...",
        description="Start monitor, node and workers on this machine, and run a program that joins them.",
        epilog="Each long option is also a variable of the environment: MOSAIC_NUM_WORKERS=4, MOSAIC_DEBUG=1.",
        allow_abbrev=False,
    )
    names = [option.name for option in OPTIONS]
    exclusive = {
        name: made.add_mutually_exclusive_group() for name in names if names.count(name) > 1
    }
    exclusive["daemon"] = exclusive["inproc"] = made.add_mutually_exclusive_group()
    for option in OPTIONS:
        to = exclusive.get(option.name, made)
        if option.metavar:
            to.add_argument(
                *option.spellings,
                dest=option.name,
                metavar=option.metavar,
                type=option.convert,
                help=option.help,
            )
        else:
            to.add_argument(
                *option.spellings,
                dest=option.name,
                action="store_const",
                const=option.value,
                help=option.help,
            )
    made.add_argument("command", nargs=argparse.REMAINDER, metavar="COMMAND", help="the program")
    return made


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
        An attribute for each option, None where nothing was said; ``command``, a list.

    Raises
    ------
    SystemExit
        Something was wrong: with code 2, after the message.
    """
    made = parser()
    options = made.parse_args(arguments)
    if options.command[:1] == ["--"]:
        del options.command[0]
    said: dict[str, tuple[str, object]] = {}
    for name, variable, value in _from_environment(environment, made):
        if getattr(options, name) is not None or _is_excluded(name, options):
            continue
        before, other = said.setdefault(name, (variable, value))
        if other != value:
            made.error(f"{before} and {variable} exclude each other")
    for name, (_, value) in said.items():
        setattr(options, name, value)
    return options


def _from_environment(
    environment: Mapping[str, str], made: argparse.ArgumentParser
) -> list[tuple[str, str, object]]:
    """Return the options that variables stand for: name, variable and value."""
    found: list[tuple[str, str, object]] = []

    def read(variable: str, convert: Callable[[str], object]) -> object:
        text = environment.get(variable, "").strip()
        try:
            return convert(text) if text else None
        except argparse.ArgumentTypeError as error:
            made.error(f"{variable}: {error}")

    for variable, (name, convert) in NAMED.items():
        if (value := read(variable, convert)) is not None:
            found.append((name, variable, value))
    for option in OPTIONS:
        for variable in variables(option):
            value = read(variable, option.convert)
            if value is None:
                continue
            if option.metavar:
                found.append((option.name, variable, value))
            elif value:
                found.append((option.name, variable, option.value))
            elif isinstance(option.value, bool):
                found.append((option.name, variable, not option.value))
    return found


def _is_excluded(name: str, options: argparse.Namespace) -> bool:
    """Return whether the command line has said the opposite of an option."""
    return (name == "daemon" and bool(options.inproc)) or (
        name == "inproc" and bool(options.daemon)
    )


def fail(text: str) -> NoReturn:
    """End with a usage error."""
    parser().error(text)
