#!/usr/bin/env bash
# Resolves the three constraints files again, each in an environment of its own that is thrown away.
# Keeps the comment lines at the top of each file. usage: tools/pins.sh PYTHON
set -euo pipefail
cd "$(dirname "$0")/.."

python=${1:?the interpreter to resolve for}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# pin FILE REQUIREMENT...
pin() {
    local file=$1
    shift
    "$python" -m venv --clear "$scratch/venv"
    "$scratch/venv/bin/python" -m pip install --quiet "$@"
    { grep '^#' "$file"; "$scratch/venv/bin/python" -m pip freeze; } > "$scratch/pinned"
    cp "$scratch/pinned" "$file"
}

mapfile -t requirements < <("$python" - <<'PY'
import tomllib

with open("pyproject.toml", "rb") as file:
    settings = tomllib.load(file)
project = settings["project"]
extras = project["optional-dependencies"].values()
print(*settings["build-system"]["requires"], sep="\n")
print(*project["dependencies"], *(line for extra in extras for line in extra), sep="\n")
PY
)
pin constraints.txt "${requirements[@]}"
pin benches/peers/constraints.txt xoscar
pin benches/peers/constraints-ray.txt ray numpy
