#!/usr/bin/env bash
# The test command: every test on SQLite, then every test on a real PostgreSQL of its own.
#
#   bash tests/run.sh           what a change must pass
#   bash tests/run.sh --long    the same with big counts (hundreds of crashes); takes much longer
#
# What else stands on the command line goes to the test runner, as a filter for example:
#   bash tests/run.sh shell::
#
# PostgreSQL comes from this machine or, where it is missing, from Debian's package. It runs in a temporary directory,
# on a socket there and no port, as a user that is not root (PostgreSQL refuses root), and is removed at the end.
# Nothing is skipped: where it cannot be had, this fails and says why. Clients in Python and Node are installed by
# tests/clients/install.sh, below target/, when the first test asks for them.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf '\n== %s\n' "$*"; }
fail() { printf '\n== %s\n' "$*" >&2; exit 1; }

filters=()
for argument in "$@"; do
  case $argument in
    --long) export OPENCLAW_TEST_LONG=1 ;;
    *) filters+=("$argument") ;;
  esac
done

# The newest of the machine's own binaries; Debian keeps them out of PATH.
postgres_binaries() {
  local initdb
  initdb=$(printf '%s\n' /usr/lib/postgresql/*/bin/initdb | sort -V | tail -n 1)
  [ -x "$initdb" ] || initdb=$(command -v initdb) || return 1
  dirname "$initdb"
}

install_postgres() {
  say "PostgreSQL is not here; installing Debian's package postgresql"
  local as_root=()
  [ "$(id -u)" -eq 0 ] || as_root=(sudo -n)
  command -v apt-get >/dev/null || fail "the tests need PostgreSQL: install it and run this again"
  "${as_root[@]}" apt-get update -qq
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends postgresql >/dev/null
}

postgres_pid=
scratch=
clean_up() {
  if [ -n "$postgres_pid" ]; then
    # At once: nothing in it is worth keeping.
    kill -QUIT "$postgres_pid" 2>/dev/null || true
    wait "$postgres_pid" 2>/dev/null || true
  fi
  [ -z "$scratch" ] || rm -rf "$scratch"
}
trap clean_up EXIT
trap 'exit 130' INT TERM

start_postgres() {
  local bin
  bin=$(postgres_binaries) || { install_postgres; bin=$(postgres_binaries); } \
    || fail "PostgreSQL was installed but cannot be found"
  scratch=$(mktemp -d /tmp/openclaw-postgres.XXXXXX)
  local drop=()
  if [ "$(id -u)" -eq 0 ]; then
    local user=postgres
    id "$user" >/dev/null 2>&1 || user=nobody
    chown "$user" "$scratch"
    drop=(setpriv "--reuid=$user" "--regid=$(id -g "$user")" --clear-groups env "HOME=$scratch")
  fi
  say "starting a private PostgreSQL ($("$bin/postgres" --version)) in $scratch"
  "${drop[@]}" "$bin/initdb" --pgdata="$scratch/data" --username=postgres --auth=trust --encoding=UTF8 \
    --locale=C --no-sync >"$scratch/initdb.log" 2>&1 || { cat "$scratch/initdb.log" >&2; fail "initdb failed"; }
  # Without fsync: these tests kill our server, not PostgreSQL, so what it lost in a power cut is never asked for.
  "${drop[@]}" "$bin/postgres" -D "$scratch/data" -k "$scratch" -c listen_addresses= -c fsync=off \
    -c full_page_writes=off -c max_connections=500 -c logging_collector=off \
    >"$scratch/postgres.log" 2>&1 </dev/null &
  postgres_pid=$!
  local tries
  for ((tries = 0; tries < 600; tries++)); do
    if "$bin/pg_isready" -q -h "$scratch" -U postgres; then
      export OPENCLAW_TEST_POSTGRES_URL="postgres:///postgres?host=$scratch&user=postgres"
      return
    fi
    kill -0 "$postgres_pid" 2>/dev/null || { cat "$scratch/postgres.log" >&2; fail "PostgreSQL did not start"; }
    sleep 0.1
  done
  fail "PostgreSQL did not answer within a minute"
}

if cargo nextest --version >/dev/null 2>&1; then
  run_tests() { cargo nextest run --workspace --locked --no-tests=pass "$@"; }
  without_a_store=(-E 'not test(/model_check/)')
  examples() { cargo test --workspace --locked --doc --quiet; }
else
  say "cargo-nextest is not here; cargo test does the same, one binary after the other"
  run_tests() { cargo test --workspace --locked --no-fail-fast "$@"; }
  without_a_store=()
  examples() { :; }
fi

start_postgres

failed=()
say "every test on SQLite"
OPENCLAW_TEST_STORE=sqlite run_tests "${filters[@]}" || failed+=("the tests on SQLite")
if [ ${#filters[@]} -eq 0 ]; then
  say "the examples in the documentation"
  examples || failed+=("the examples in the documentation")
fi
# The model checks have no store, and take minutes.
say "every test that has a store, on PostgreSQL"
OPENCLAW_TEST_STORE=postgres run_tests "${without_a_store[@]}" "${filters[@]}" || failed+=("the tests on PostgreSQL")

[ ${#failed[@]} -eq 0 ] || fail "failed: $(IFS=,; printf '%s' "${failed[*]}")"
say "all tests passed on both databases"
