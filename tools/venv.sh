#!/bin/sh
# Installs the Debian packages that are missing and makes .venv from the distribution's Python.
# Does nothing when pyproject.toml and the package list are those of the last time.
set -eu
cd "$(dirname "$0")/.."
stamp=.venv/.made-from
# the checkout's path belongs to it: an editable installation and the scripts of a venv carry it
want=$({ pwd; cat pyproject.toml tools/debian-packages.txt tools/venv.sh; } | sha256sum | cut -d ' ' -f 1)
if [ -e "$stamp" ] && [ "$(cat "$stamp")" = "$want" ]; then
  exit 0
fi

missing=
for package in $(sed '/^#/d' tools/debian-packages.txt); do
  # in the words of dpkg: what is removed but configured is not installed
  case $(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null || true) in
    installed) ;;
    *) missing="$missing $package" ;;
  esac
done
if [ -n "$missing" ]; then
  if [ "$(id -u)" != 0 ]; then
    echo "Debian packages are missing. As root: apt-get install --no-install-recommends$missing" >&2
    exit 1
  fi
  echo "installing Debian packages:$missing"
  # what is installed must not start: this machine only borrows the programs
  policy=/usr/sbin/policy-rc.d
  if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
    trap 'rm -f "$policy"' EXIT
  fi
  apt-get update -qq
  # shellcheck disable=SC2086
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
fi

[ -x .venv/bin/python ] || /usr/bin/python3 -m venv .venv
echo "installing the project and its tools into .venv"
.venv/bin/pip install --quiet --disable-pip-version-check --editable '.[dev,fast]'
for part in /usr/lib/python3/dist-packages/libvirt*.py /usr/lib/python3/dist-packages/libvirtmod*.so; do
  for site in .venv/lib/python3*/site-packages; do
    ln -sf "$part" "$site/"
  done
done
.venv/bin/python -c 'import libvirt, MySQLdb'
echo "$want" >"$stamp"
