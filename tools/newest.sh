#!/usr/bin/env bash
# Makes an environment with the newest versions of everything that the ranges in pyproject.toml allow, as pip resolves
# them today for whoever installs the package. The package itself is the tree, with the extension that is built there.
# usage: tools/newest.sh PYTHON DIRECTORY
set -euo pipefail
cd "$(dirname "$0")/.."

python=${1:?the interpreter that the extension was built for}
directory=${2:?where to make the environment}

# What the package needs, and of the tools those that run the tests.
mapfile -t requirements < <("$python" - <<'PY'
import re
import tomllib

TOOLS = {"h5py", "hypothesis", "ipykernel", "psutil", "pytest", "pytest-timeout", "uvloop"}
with open("pyproject.toml", "rb") as file:
    project = tomllib.load(file)["project"]
print(*project["dependencies"], sep="\n")
for line in project["optional-dependencies"]["dev"]:
    if re.match(r"[\w-]+", line)[0] in TOOLS:
        print(line)
PY
)
"$python" -m venv --clear "$directory"
"$directory/bin/python" -m pip install --quiet "${requirements[@]}"
"$directory/bin/python" -m pip check --quiet
packages=$("$directory/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
echo "$PWD/python" > "$packages/mosaic-tree.pth"
"$directory/bin/python" -c 'import mosaic._core'
