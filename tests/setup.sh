#!/bin/sh
# Installs what is missing, and nothing else: `setup.sh run` to build and run, `setup.sh test` also for
# the tests, which start servers of their own. Called by the Makefile.
set -eu

missing=
need() { missing="$missing $1"; }
has() { command -v "$1" >/dev/null 2>&1; }

if ! has cargo; then
    echo 'error: cargo is not installed; get Rust 1.88 or newer from https://rustup.rs' >&2
    exit 1
fi

has cc || need 'gcc libc6-dev'
has cmake || need cmake                 # builds zlib-ng, which Pingora links
# The store; the sample gateway does without, if it must.
has redis-server || need redis-server
if [ "${1:-run}" = test ]; then
    # The tests take another server where this says so: `valkey-server`, or the path of a program.
    # Debian 12 has that one in bookworm-backports.
    case ${SLUICEGATE_TEST_REDIS:-redis-server} in
    redis-server) ;;
    valkey-server) has valkey-server || need valkey-server ;;
    *) has "$SLUICEGATE_TEST_REDIS" || { echo "error: $SLUICEGATE_TEST_REDIS is not here" >&2; exit 1; } ;;
    esac
    # What the tests against real applications run behind the gateway.
    has nginx || need nginx-light
    has python3 || need python3
    python3 -c 'import ensurepip, venv' 2>/dev/null || need python3-venv
fi
[ -n "$missing" ] || exit 0

give_up() {
    echo "error: $1; install these packages and try again:$missing" >&2
    exit 1
}

has apt-get || give_up 'apt-get is not here'
as_root=
if [ "$(id -u)" -ne 0 ]; then
    has sudo || give_up 'installing takes root, and sudo is not here'
    as_root=sudo
fi

echo "Installing with apt-get${as_root:+ and sudo}:$missing"
apt="$as_root env DEBIAN_FRONTEND=noninteractive apt-get -q"
# shellcheck disable=SC2086  # the lists are meant to be split into words
{
    $apt update || give_up 'apt-get update failed'
    $apt install -y --no-install-recommends $missing || give_up 'apt-get install failed'
}
