# shellcheck shell=bash
# Shared by the shell scripts in tools/: messages, the choice of Python, and the pinned environment.
# Sourced, not run. Sets ROOT, VENV and PY. Runs on bash 3.2 and later.
#
# Settings (environment variables):
#   MMHYENA_DISTRIBUTION onedl, or openmmlab (Python 3.10) (default: onedl)
#   MMHYENA_VENV         folder of the environment         (default: .venv or .venv-openmmlab in the repository)
#   MMHYENA_PYTHON       interpreter to build it with      (default: the first fitting python3 on PATH)
#   MMHYENA_MIN_FREE_GB  free space asked for              (default: 7 to build the environment, 1 afterwards)

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)"
DISTRIBUTION="${MMHYENA_DISTRIBUTION:-onedl}"
LOCK="$ROOT/requirements/$DISTRIBUTION.txt"
BUILD_LOCK="$ROOT/requirements/build-$DISTRIBUTION.txt"
SECONDS=0

clock() { printf '%02d:%02d' $((SECONDS / 60)) $((SECONDS % 60)); }
say() { printf '[%s] %s\n' "$(clock)" "$*"; }
die() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

# --- Python ----------------------------------------------------------------------------------------------------------

python_version() { "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null; }

choose_distribution() {
    case "$DISTRIBUTION" in
        onedl)
            PYTHONS='Python 3.10, 3.11, 3.12 or 3.13'
            DEFAULT_VENV="$ROOT/.venv"
            OTHER_DISTRIBUTION='mmcv'
            ;;
        openmmlab)
            PYTHONS='Python 3.10'
            DEFAULT_VENV="$ROOT/.venv-openmmlab"
            OTHER_DISTRIBUTION='onedl_mmcv'
            ;;
        *) die "MMHYENA_DISTRIBUTION is '$DISTRIBUTION': it can be onedl or openmmlab" ;;
    esac
}

is_supported() {
    case "$DISTRIBUTION $(python_version "$1")" in
        *' 3.10' | 'onedl 3.11' | 'onedl 3.12' | 'onedl 3.13') return 0 ;;
        *) return 1 ;;
    esac
}

python_candidates() {
    if [ -n "${MMHYENA_PYTHON:-}" ]; then
        echo "$MMHYENA_PYTHON"
        return
    fi
    local name
    for name in python3 python3.12 python3.13 python3.11 python3.10 python; do
        command -v "$name" || true
    done
}

# Prints one fitting interpreter per line.
supported_pythons() {
    python_candidates | while read -r candidate; do
        if is_supported "$candidate"; then echo "$candidate"; fi
    done
}

describe_pythons() {
    python_candidates | while read -r candidate; do
        printf '%s is %s, ' "$candidate" "$(python_version "$candidate" || echo 'not usable')"
    done
}

# --- Space -----------------------------------------------------------------------------------------------------------

existing_parent() {
    local folder="$1"
    while [ ! -d "$folder" ]; do folder="$(dirname "$folder")"; done
    echo "$folder"
}

free_kib() { df -Pk "$(existing_parent "$1")" | awk 'NR == 2 { print $4 }'; }
file_system() { df -Pk "$(existing_parent "$1")" | awk 'NR == 2 { print $1 " " $6 }'; }

check_space() { # FOLDER GB PURPOSE
    local need="${MMHYENA_MIN_FREE_GB:-$2}" free
    free=$(($(free_kib "$1") / 1024 / 1024))
    [ "$free" -ge "$need" ] ||
        die "$3 needs $need GB of free space in $1, but only $free GB are free: free some, or set MMHYENA_VENV to another disk"
}

# --- Environment -----------------------------------------------------------------------------------------------------

make_venv() {
    local pythons python last=''
    pythons="$(supported_pythons)"
    [ -n "$pythons" ] ||
        die "$PYTHONS is needed, but $(describe_pythons)so install one or name it in MMHYENA_PYTHON"
    check_space "$VENV" 7 'the environment'
    while read -r python; do
        last="$python"
        say "making $VENV with Python $(python_version "$python") ($python)"
        rm -rf "$VENV"
        mkdir -p "$VENV"
        echo incomplete >"$STAMP"
        if "$python" -m venv "$VENV" >"$LOG" 2>&1; then return; fi
        # Debian splits ensurepip off; uv or the system's pip can replace it.
        if "$python" -m venv --without-pip "$VENV" >>"$LOG" 2>&1; then
            if command -v uv >/dev/null || "$python" -m pip --python "$PY" install -q pip >>"$LOG" 2>&1; then return; fi
        fi
        rm -rf "$VENV"
    done <<<"$pythons"
    die "$last cannot make virtual environments with pip: install its venv package (Debian, Ubuntu: apt install python3-venv)"
}

NETWORK_ERRORS='failed to resolve|name resolution|connection (refused|broken|reset|aborted)|new connection|connect error'
NETWORK_ERRORS="$NETWORK_ERRORS|unreachable|timed out|cannot connect|proxy|sending request|dns error|failed to fetch"

# Ends the script in one line that says what kind of trouble an installer had.
install_failed() {
    if grep -qi 'no space left' "$LOG"; then die "the disk is full while installing packages (details: $LOG)"; fi
    if grep -qiE "$NETWORK_ERRORS" "$LOG"; then
        die "the package index cannot be reached: check the network, HTTPS_PROXY or pip's index settings (details: $LOG)"
    fi
    die "installing packages failed: $(grep -iE 'error|failed' "$LOG" | tail -n 1) (details: $LOG)"
}

# uv installs the environment in seconds. It does not read pip's settings, so the index is handed over.
find_uv() {
    UV="$VENV/bin/uv"
    if [ ! -x "$UV" ] && "$PY" -m pip --version >/dev/null 2>&1; then
        "$PY" -m pip install --retries 1 --timeout 20 -q -r "$ROOT/requirements/uv.txt" >"$LOG" 2>&1 || true
    fi
    if [ ! -x "$UV" ]; then UV="$(command -v uv || true)"; fi
    if [ -z "$UV" ] && [ ! -s "$LOG" ]; then die "$VENV has neither pip nor uv: delete it, it will be recreated"; fi
    [ -n "$UV" ] || install_failed
    local index
    index="$("$PY" -m pip config get global.index-url 2>/dev/null || true)"
    index="${PIP_INDEX_URL:-$index}"
    if [ -n "$index" ]; then export UV_DEFAULT_INDEX="${UV_DEFAULT_INDEX:-$index}"; fi
}

# A small home disk must not stop the installation: the cache then moves next to the environment.
choose_cache() {
    local cache="${UV_CACHE_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/uv}"
    CACHE_OF_OURS=''
    if [ "$(file_system "$cache")" != "$(file_system "$VENV")" ] && [ "$(free_kib "$cache")" -lt $((7 * 1024 * 1024)) ]; then
        CACHE_OF_OURS="$VENV/.cache"
        export UV_CACHE_DIR="$CACHE_OF_OURS"
    fi
}

# The lock file is complete, so nothing is resolved: exactly what it names goes in, and OpenCV without libGL.
install_with_uv() {
    "$UV" pip install --python "$PY" --no-deps --build-constraints "$BUILD_LOCK" -r "$LOCK" --editable "$ROOT" 2>&1 |
        tee "$LOG" | { grep --line-buffered -vE '^ [+~-] ' || true; }
}

# pip knows certificates, proxies and log-ins that uv may not.
install_with_pip() {
    PIP_CONSTRAINT="$BUILD_LOCK" PIP_BUILD_CONSTRAINT="$BUILD_LOCK" "$PY" -m pip install --no-deps -r "$LOCK" \
        --editable "$ROOT" 2>&1 | tee -a "$LOG" | { grep --line-buffered -E '^(Collecting|Installing)' || true; }
}

install_lock() {
    find_uv
    choose_cache
    if ! install_with_uv; then
        "$PY" -m pip --version >/dev/null 2>&1 || install_failed
        say 'uv could not install them; trying pip'
        install_with_pip || install_failed
    fi
}

install_packages() {
    check_space "$VENV" 7 'the environment'
    say 'installing the pinned packages (5.5 GB; minutes on the first run, seconds from the cache)'
    install_lock
    "$PY" -c 'import cv2, mmcv, mmengine, torch' >>"$LOG" 2>&1 || install_failed
    if [ -n "$CACHE_OF_OURS" ]; then rm -rf "$CACHE_OF_OURS"; fi
}

# Changes with everything that decides what is installed, and where.
env_stamp() {
    {
        echo "$ROOT $VENV"
        cat "$LOCK" "$BUILD_LOCK" "$ROOT/pyproject.toml" "$ROOT/setup.py"
    } | cksum
}

refuse_other_distribution() {
    local found
    found="$(find "$VENV/lib" -maxdepth 3 -iname "$OTHER_DISTRIBUTION-*.dist-info" 2>/dev/null | head -n 1 || true)"
    [ -z "$found" ] ||
        die "$VENV holds $OTHER_DISTRIBUTION, whose files are those of the $DISTRIBUTION distribution's: set MMHYENA_VENV to another folder"
}

# Only folders that are ours, new, or a fitting environment of the user are written to.
check_venv_folder() {
    if [ ! -e "$VENV" ] || [ -f "$STAMP" ] || [ -z "$(ls -A "$VENV")" ]; then return; fi
    [ -f "$VENV/pyvenv.cfg" ] || die "$VENV is not a virtual environment: set MMHYENA_VENV to another folder"
    is_supported "$PY" || die "$VENV has another Python than $PYTHONS: set MMHYENA_VENV to another folder"
    say "$VENV is there already: the pinned versions go into it"
}

# Makes the environment, or reuses it if nothing that decides its contents changed. Sets VENV and PY.
ensure_env() {
    choose_distribution
    VENV="${MMHYENA_VENV:-$DEFAULT_VENV}"
    case "$VENV" in /*) ;; *) VENV="$PWD/$VENV" ;; esac
    PY="$VENV/bin/python"
    STAMP="$VENV/.mmhyena-stamp"
    # Packages of other environments must not leak in.
    unset PYTHONPATH PYTHONHOME
    export PYTHONNOUSERSITE=1 PIP_DISABLE_PIP_VERSION_CHECK=1
    if [ "$(cat "$STAMP" 2>/dev/null)" = "$(env_stamp)" ] && is_supported "$PY"; then
        say "environment: $VENV (reused)"
        return
    fi
    LOG="$(mktemp "${TMPDIR:-/tmp}/mmhyena-install.XXXXXX")"
    check_venv_folder
    refuse_other_distribution
    if ! is_supported "$PY"; then make_venv; fi
    install_packages
    env_stamp >"$STAMP"
    rm -f "$LOG"
    say "environment: $VENV ($("$PY" -c 'import torch; print("torch", torch.__version__)'))"
}

# Adds what the tests of the optional parts need (export, class activation maps, this site, curves), if there is a lock
# file for it. The quick start does without. Call it after ensure_env.
ensure_extras() {
    local stamp="$VENV/.mmhyena-extras-stamp" lock="$ROOT/requirements/$DISTRIBUTION-extras.txt"
    if [ ! -f "$lock" ] || [ "$(cat "$stamp" 2>/dev/null)" = "$(cksum <"$lock")" ]; then return; fi
    LOG="$(mktemp "${TMPDIR:-/tmp}/mmhyena-install.XXXXXX")"
    LOCK="$lock"
    say 'installing the packages of the optional parts (270 MB)'
    install_lock
    if [ -n "$CACHE_OF_OURS" ]; then rm -rf "$CACHE_OF_OURS"; fi
    cksum <"$lock" >"$stamp"
    rm -f "$LOG"
}
