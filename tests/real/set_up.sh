#!/usr/bin/env bash
# Installs the packages of packages.txt that are missing, without starting any service that they bring.
set -euo pipefail
cd "$(dirname "$0")"

if [ "$(id -u)" != 0 ]; then
  echo "make test-real needs root: it starts servers, mounts file systems and makes network namespaces."
  echo "On a machine that you can spare, say: sudo make test-real"
  exit 1
fi

missing=()
while read -r package; do
  state=$(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>&1) || state=unknown
  [ "$state" = installed ] || missing+=("$package")
done < <(grep -v '^#' packages.txt)

# What looks whether everybody can use the gallery; without npm, or where it reaches nothing, that test is skipped.
if command -v npm >/dev/null && [ ! -e ../../node_modules/axe-core/axe.min.js ]; then
  (cd ../.. && npm install --no-save --no-package-lock --no-audit --no-fund --silent axe-core@4.14.1) || echo "No axe-core."
fi
[ ${#missing[@]} = 0 ] && exit 0

command -v apt-get >/dev/null || { echo "Install these, then try again: ${missing[*]}"; exit 1; }
echo "Installing ${missing[*]}"
policy=/usr/sbin/policy-rc.d # Debian asks it whether a service may start; 101 is no
if [ ! -e "$policy" ]; then
  trap 'rm -f "$policy"' EXIT
  printf '#!/bin/sh\nexit 101\n' > "$policy"
  chmod 755 "$policy"
fi
apt-get update --quiet --quiet
DEBIAN_FRONTEND=noninteractive apt-get install --quiet --quiet --yes --no-install-recommends "${missing[@]}"
