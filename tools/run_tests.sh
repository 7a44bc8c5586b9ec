#!/usr/bin/env bash
# Runs the tests in the pinned environment, which it makes if needed.
#
#   bash tools/run_tests.sh                     everything but the slow tests
#   bash tools/run_tests.sh -m slow             the slow tests
#   bash tools/run_tests.sh tests/ops -k conv   any pytest arguments; paths start at the repository
#
# Tests run in MMHYENA_TEST_JOBS processes (default: one per core, at most 4), each with one torch thread.
# `-n 0` keeps them in one process, for a debugger. tools/lib/env.sh lists the settings of the environment.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib/env.sh"

ensure_env
ensure_extras

cores="$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 1)"
jobs="${MMHYENA_TEST_JOBS:-$((cores < 4 ? cores : 4))}"
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
cd "$ROOT"
exec "$PY" -m pytest -n "$jobs" --dist worksteal "$@" </dev/null
