#!/usr/bin/env bash
# Renews the exact pins of both distributions from pyproject.toml: bash requirements/lock.sh [--upgrade]
# What is pinned already stays unless it must change or --upgrade is given.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

lock() { # DISTRIBUTION FILE OPTIONS
    local distribution="$1" file="$2"
    shift 2
    echo opencv-python-headless | uv pip compile pyproject.toml - --extra "$distribution" --extra test --extra lint \
        --python-version 3.10 --override requirements/headless.txt --build-constraints "requirements/build-$distribution.txt" \
        --no-annotate --custom-compile-command 'bash requirements/lock.sh' --output-file "requirements/$file.txt" \
        --quiet "$@"
}

lock onedl onedl --universal "$@"
# All of that and what the tests of the optional parts need; tools/run_tests.sh adds it.
lock onedl onedl-extras --universal --constraint requirements/onedl.txt --extra cam --extra docs --extra export \
    --extra tensorboard "$@"
lock openmmlab openmmlab --python-platform x86_64-manylinux_2_28 "$@"
