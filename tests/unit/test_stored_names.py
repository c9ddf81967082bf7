"""The attributes that methods store on self, as their byte code says."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mosaic.core import stored_names
from tests.support import storing
from tests.support.storing import STORED, Storing


def test_every_way_of_storing_is_known():
    assert sorted(stored_names.stored_names(Storing) ^ STORED) == []


def interpreter(version):
    """Return a Python of some version: one that is on the path, or installed beside this one; None if there is none."""
    beside = Path(sys.base_prefix).parent.glob(f"*/bin/python{version}")
    for found in (shutil.which(f"python{version}"), *map(str, beside)):
        # What is on the path may be a stand-in for versions that are not chosen.
        if (
            found
            and not subprocess.run([found, "-c", ""], check=False, capture_output=True).returncode
        ):
            return found
    return None


@pytest.mark.parametrize("version", ["3.12", "3.13", "3.14"])
def test_with_the_byte_code_of_other_versions(version):
    python = interpreter(version)
    if python is None:
        pytest.skip(f"there is no Python {version}")
    command = [python, storing.__file__, stored_names.__file__]
    assert subprocess.run(command, check=True, capture_output=True, text=True).stdout == "[]\n"


def test_names_are_read_once_for_a_class():
    class Plain:
        def __init__(self):
            self.value = 1

    first = stored_names.stored_names(Plain)
    assert first == {"value"}
    assert stored_names.stored_names(Plain) is first


def test_nothing_heavy_is_imported():
    program = (
        "import sys, mosaic.core.proxy\n"
        "from mosaic.core.stored_names import stored_names\n"
        "class A:\n"
        "    def f(self): self.x = 1\n"
        "assert stored_names(A) == {'x'}\n"
        "print(sorted({'dis', 'inspect'} & set(sys.modules)))\n"
    )
    out = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )
    assert out.stdout == "[]\n"


def test_what_no_method_mentions_needs_no_reading():
    assert stored_names.mentions(Storing, "deep")
    assert stored_names.mentions(Storing, "by_name")
    assert not stored_names.mentions(Storing, "stop")
