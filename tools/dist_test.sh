#!/usr/bin/env bash
# Tests on several GPUs of one or several machines, or in several CPU processes where there is no GPU.
#
#   tools/dist_test.sh CONFIG CHECKPOINT GPUS [ARGUMENT...]     arguments as for tools/test.py
#
# Several machines: run it on each with NNODES, NODE_RANK (0, 1, ...), MASTER_ADDR (of machine 0) and PORT set; GPUS
# counts those of one machine. PYTHON names the interpreter (default: python).
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/launch.sh"

case "${1:-}" in -h | --help) usage && exit 0 ;; esac
[ $# -ge 3 ] || die 'usage: tools/dist_test.sh CONFIG CHECKPOINT GPUS [ARGUMENT...]'
config="$1" checkpoint="$2" gpus="$3"
shift 3
launch "$gpus" "$(dirname "$0")/test.py" "$config" "$checkpoint" "$@"
