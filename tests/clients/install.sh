#!/usr/bin/env bash
# Installs the clients in other languages that the tests run, in the versions pinned beside this file, and prints where:
# python/ there is a Python environment, node/node_modules/ holds Node's modules, bin/ what else was asked for.
#
#   bash tests/clients/install.sh DIR [PROGRAM…]    DIR is made; what is there already for the same pins is used again
#
# Python, Node and each PROGRAM (chromium, promtool) come from this machine or, where they are missing, from Debian's
# packages. PROGRAM schemathesis is an environment of its own, DIR/schemathesis, since it needs other versions of what the
# clients stand on. Nothing is skipped: where they cannot be had, this fails and says why.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
into=${1:?say where to install: bash tests/clients/install.sh DIR [PROGRAM…]}
shift

fail() { printf 'tests/clients/install.sh: %s\n' "$*" >&2; exit 1; }
as_root() { if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo -n "$@"; fi; }

mkdir -p "$into"
# Tests run beside each other; one of them installs.
exec 9>"$into/clients.lock"
flock 9

# Debian packages, for what is not here.
missing=()
wants_promtool=
for program in "$@"; do
  case $program in
    chromium) command -v chromium >/dev/null || missing+=(chromium) ;;
    promtool) wants_promtool=1 ;;
    schemathesis) ;;
    *) fail "it is not known where $program comes from" ;;
  esac
done
python3 -c 'import venv, ensurepip' 2>/dev/null || missing+=(python3-venv)
command -v node >/dev/null || missing+=(nodejs)
command -v npm >/dev/null || missing+=(npm)
if [ ${#missing[@]} -gt 0 ]; then
  command -v apt-get >/dev/null || fail "the tests need ${missing[*]}: install them and run this again"
  printf "tests/clients/install.sh: installing Debian's %s\n" "${missing[*]}" >&2
  { as_root apt-get update -qq && as_root env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends "${missing[@]}"; } >&2 || fail "Debian's ${missing[*]} cannot be had"
fi

# A Python environment with what the file of pins names, and nothing else.
environment() {
  python3 -m venv "$1" && "$1/bin/pip" install --quiet --disable-pip-version-check --no-deps -r "$2"
}

# Other pins are another folder, so what was installed is never changed under a test that uses it.
others=$here/../schemathesis/requirements.txt
pins=$(cat "$here"/requirements.txt "$here"/package.json "$here"/package-lock.json "$others" | cksum | cut -d ' ' -f 1)
place=$into/clients-$pins
if [ ! -e "$place/complete" ]; then
  rm -rf "$place"
  mkdir -p "$place/node"
  {
    environment "$place/python" "$here/requirements.txt"
    cp "$here/package.json" "$here/package-lock.json" "$place/node/"
    (cd "$place/node" && npm ci --ignore-scripts --no-audit --no-fund)
  } >&2 || fail "the clients could not be installed"
  : >"$place/complete"
fi
if [[ " $* " == *" schemathesis "* ]] && [ ! -e "$place/schemathesis/complete" ]; then
  rm -rf "$place/schemathesis"
  environment "$place/schemathesis" "$others" >&2 || fail "Schemathesis could not be installed"
  : >"$place/schemathesis/complete"
fi

# Taken out of its package: installed, that would start a Prometheus.
if [ -n "$wants_promtool" ] && [ ! -x "$place/bin/promtool" ]; then
  mkdir -p "$place/bin"
  if found=$(command -v promtool); then
    ln -s "$found" "$place/bin/promtool"
  else
    printf "tests/clients/install.sh: fetching promtool from Debian's prometheus\n" >&2
    scratch=$(mktemp -d)
    trap 'rm -rf "$scratch"' EXIT
    (
      cd "$scratch"
      apt-get download -qq prometheus || { as_root apt-get update -qq && apt-get download -qq prometheus; }
      dpkg-deb -x prometheus_*.deb .
    ) >&2 || fail "Debian's prometheus cannot be had"
    mv "$scratch/usr/bin/promtool" "$place/bin/"
  fi
fi
printf '%s\n' "$place"
