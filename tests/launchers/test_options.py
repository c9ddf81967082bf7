"""The command line of `mrun`, and what a scheduler says of its machines."""

import socket

import pytest

from mosaic.cli import hosts, mrun
from mosaic.cli.options import OPTIONS, parse, variables

COMMAND = ["python", "script.py"]


def options(*arguments, environment=None):
    return parse([*arguments, *COMMAND], environment or {})


def test_every_option_of_the_old_command_is_known():
    found = options(
        *("--head", "-i", "0", "--inproc", "-n", "1", "-nw", "4", "-nth", "2"),
        *("--address", "localhost", "--port", "3000", "--monitor-address", "127.0.0.1"),
        *("--monitor-port", "3001", "--pubsub-port", "3002", "-l", "-rh", "--perf", "--profile"),
    )
    assert vars(found) == {
        "role": "head",
        "indices": "0",
        "daemon": None,
        "inproc": True,
        "nodes": 1,
        "workers": 4,
        "threads": 2,
        "address": "localhost",
        "port": 3000,
        "monitor_address": "127.0.0.1",
        "monitor_port": 3001,
        "pubsub_port": 3002,
        "mode": "local",
        "reuse_head": True,
        "dynamic": None,
        "log_level": "perf",
        "profile": True,
        "command": COMMAND,
    }


@pytest.mark.parametrize(
    ("arguments", "name", "value"),
    [
        (["--local"], "mode", "local"),
        (["-c"], "mode", "cluster"),
        (["--cluster"], "mode", "cluster"),
        (["--reuse-head"], "reuse_head", True),
        (["-fh"], "reuse_head", False),
        (["--free-head"], "reuse_head", False),
        (["--monitor"], "role", "monitor"),
        (["--node"], "role", "node"),
        (["--daemon"], "daemon", True),
        (["--dynamic"], "dynamic", True),
        (["--info"], "log_level", "info"),
        (["--debug"], "log_level", "debug"),
        (["--error"], "log_level", "error"),
    ],
)
def test_spellings(arguments, name, value):
    assert getattr(options(*arguments), name) == value


def test_what_stands_behind_the_command_is_the_commands():
    found = parse(["-nw", "2", "python", "-nw", "3", "--profile", "--", "x"], {})
    assert found.command == ["python", "-nw", "3", "--profile", "--", "x"]
    assert (found.workers, found.profile) == (2, None)
    assert parse(["--", "python"], {}).command == ["python"]


VALUES = {
    "MOSAIC_HEAD": ("1", "role", "head"),
    "MOSAIC_MONITOR": ("true", "role", "monitor"),
    "MOSAIC_NODE": ("yes", "role", "node"),
    "MOSAIC_INDICES": ("0", "indices", "0"),
    "MOSAIC_DAEMON": ("1", "daemon", True),
    "MOSAIC_INPROC": ("on", "inproc", True),
    "MOSAIC_NODES": ("1", "nodes", 1),
    "MOSAIC_NUM_NODES": ("1", "nodes", 1),
    "MOSAIC_WORKERS": ("8", "workers", 8),
    "MOSAIC_NUM_WORKERS": ("8", "workers", 8),
    "MOSAIC_THREADS": ("3", "threads", 3),
    "MOSAIC_NUM_THREADS": ("3", "threads", 3),
    "MOSAIC_ADDRESS": ("localhost", "address", "localhost"),
    "MOSAIC_PORT": ("3000", "port", 3000),
    "MOSAIC_MONITOR_ADDRESS": ("localhost", "monitor_address", "localhost"),
    "MOSAIC_MONITOR_HOST": ("localhost", "monitor_address", "localhost"),
    "MOSAIC_MONITOR_PORT": ("3001", "monitor_port", 3001),
    "MOSAIC_PUBSUB_PORT": ("3002", "pubsub_port", 3002),
    "MOSAIC_LOCAL": ("1", "mode", "local"),
    "MOSAIC_CLUSTER": ("1", "mode", "cluster"),
    "MOSAIC_MODE": ("LOCAL", "mode", "local"),
    "MOSAIC_REUSE_HEAD": ("0", "reuse_head", False),
    "MOSAIC_FREE_HEAD": ("1", "reuse_head", False),
    "MOSAIC_DYNAMIC": ("1", "dynamic", True),
    "MOSAIC_PERF": ("1", "log_level", "perf"),
    "MOSAIC_INFO": ("1", "log_level", "info"),
    "MOSAIC_DEBUG": ("1", "log_level", "debug"),
    "MOSAIC_ERROR": ("1", "log_level", "error"),
    "MOSAIC_LOG_LEVEL": ("warning", "log_level", "warning"),
    "MOSAIC_PROFILE": ("run.profile", "profile", True),
}


@pytest.mark.parametrize("variable", VALUES)
def test_each_is_a_variable_too(variable):
    text, name, value = VALUES[variable]
    assert getattr(options(environment={variable: text}), name) == value


def test_no_option_is_without_a_variable():
    assert {name for option in OPTIONS for name in variables(option)} <= set(VALUES)


def test_a_variable_can_switch_off():
    environment = {
        "MOSAIC_PROFILE": "0",
        "MOSAIC_DEBUG": "0",
        "MOSAIC_DAEMON": "",
        "MOSAIC_LOCAL": "no",
    }
    found = options(environment=environment)
    assert (found.profile, found.log_level, found.daemon, found.mode) == (False, None, None, None)


def test_the_command_line_counts_for_more_than_the_variables():
    environment = {"MOSAIC_NUM_WORKERS": "8", "MOSAIC_MODE": "local", "MOSAIC_DAEMON": "1"}
    found = options("-nw", "2", "-c", "--inproc", environment=environment)
    assert (found.workers, found.mode, found.daemon, found.inproc) == (2, "cluster", None, True)


def test_variables_that_contradict_each_other(capsys):
    with pytest.raises(SystemExit):
        options(environment={"MOSAIC_LOCAL": "1", "MOSAIC_CLUSTER": "1"})
    assert "MOSAIC_LOCAL and MOSAIC_CLUSTER exclude each other" in capsys.readouterr().err


WRONG = {
    "no command": ([], "a command is needed"),
    "unknown": (["--nonsense", *COMMAND], "unrecognized arguments: --nonsense"),
    "no number": (["-nw", "four", *COMMAND], "a whole number from 1 on is needed, not 'four'"),
    "none": (["-nth", "0", *COMMAND], "a whole number from 1 on is needed, not '0'"),
    "port": (["--port", "70000", *COMMAND], "a port is a number from 0 to 65535"),
    "two levels": (["--debug", "--info", *COMMAND], "not allowed with argument"),
    "two places": (["--daemon", "--inproc", *COMMAND], "not allowed with argument"),
    "nodes": (["-n", "2", *COMMAND], "-n 2: several machines come later"),
    "node": (["--node"], "--node starts the node of another machine: several machines come later"),
    "free head": (["-fh", *COMMAND], "--free-head leaves the workers to other machines"),
    "dynamic": (["--dynamic", *COMMAND], "--dynamic waits for nodes on other machines"),
    "indices": (["-i", "1", *COMMAND], "-i 1: the node of this machine is 0"),
    "address": (["--address", "192.0.2.1", *COMMAND], "--address 192.0.2.1 is not this machine"),
    "monitor": (["--monitor-address", "192.0.2.1", *COMMAND], "192.0.2.1 is not this machine"),
    "monitor and command": (["--monitor", *COMMAND], "--monitor runs no command"),
    "head and daemon": (["--head", "--daemon", *COMMAND], "--head joins what runs already"),
}


@pytest.fixture
def refuse(capsys, monkeypatch, tmp_path):
    """Check that a command line ends with code 2 and a message, and does nothing."""
    monkeypatch.chdir(tmp_path)

    def check(arguments, message):
        with pytest.raises(SystemExit) as ended:
            mrun.main(arguments)
        assert ended.value.code == 2
        assert message in capsys.readouterr().err
        assert list(tmp_path.iterdir()) == []

    return check


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_had_is_a_usage_error(case, refuse):
    refuse(*WRONG[case])


@pytest.mark.parametrize(
    ("variable", "text", "message"),
    [
        ("MOSAIC_NUM_WORKERS", "many", "MOSAIC_NUM_WORKERS: a whole number"),
        ("MOSAIC_DAEMON", "perhaps", "MOSAIC_DAEMON: 1 or 0 is needed, not 'perhaps'"),
        ("MOSAIC_LOG_LEVEL", "loud", "MOSAIC_LOG_LEVEL: one of trace, debug, perf"),
        ("MOSAIC_MONITOR_HOST", "192.0.2.1", "192.0.2.1 is not this machine"),
        ("SLURM_JOB_NODELIST", "n[1-3]", "SLURM_JOB_NODELIST names 3 machines (n1, n2, n3)"),
        ("SLURM_NODELIST", "far-away", "SLURM_NODELIST names far-away, but this machine is"),
        ("SLURM_JOB_NODELIST", "n[1-", "'n[1-' is not a list of machines"),
        ("PE_HOSTFILE", "/no/such/file", "PE_HOSTFILE: /no/such/file cannot be read"),
    ],
)
def test_variables_that_ask_for_it_too(variable, text, message, refuse, monkeypatch):
    monkeypatch.setenv(variable, text)
    refuse(COMMAND, message)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("n1", ["n1"]),
        ("n1,n2", ["n1", "n2"]),
        ("gpu[08-11]", ["gpu08", "gpu09", "gpu10", "gpu11"]),
        ("a[1,3-4]-ib,login", ["a1-ib", "a3-ib", "a4-ib", "login"]),
        ("r[1-2]n[8-9]", ["r1n8", "r1n9", "r2n8", "r2n9"]),
    ],
)
def test_slurms_lists(text, names):
    assert hosts.expand(text) == names


@pytest.mark.parametrize("text", ["n[1-", "n1,,n2", "n[3-1]", "n[a-b]"])
def test_what_is_no_list(text):
    with pytest.raises(ValueError, match="not a list of machines"):
        hosts.expand(text)


@pytest.mark.parametrize(
    ("variable", "content", "names"),
    [
        ("PE_HOSTFILE", "one 4 main.q@one UNDEFINED\ntwo 4 main.q@two UNDEFINED\n", ["one", "two"]),
        ("PBS_NODEFILE", "one\none\ntwo\n", ["one", "two"]),
    ],
)
def test_lists_in_files(variable, content, names, tmp_path):
    path = tmp_path / "hosts"
    path.write_text(content)
    assert hosts.given({variable: str(path)}) == (variable, names)


def test_a_job_on_this_machine_only_is_fine(monkeypatch):
    for variable in ("SLURM_JOB_NODELIST", "SLURM_NODELIST"):
        monkeypatch.setenv(variable, socket.gethostname())
    mrun.check(options())
    # Slurm's own name for it, and the first of several when one is enough.
    monkeypatch.setenv("SLURM_JOB_NODELIST", "n[1-2]")
    monkeypatch.setenv("SLURMD_NODENAME", "n1")
    mrun.check(options("-n", "1"))


def test_this_machine_by_its_names():
    short = socket.gethostname().partition(".")[0]
    for name in ("localhost", "127.0.0.1", "::1", short, f"{short}.example.org"):
        assert hosts.is_here(name, {}), name
    for name in ("192.0.2.1", "far-away", "0.0.0.0", ""):
        assert not hosts.is_here(name, {}), name
