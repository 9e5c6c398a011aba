#!/bin/sh
# Installs a built tree (npm run build) on a machine with systemd: program, unit, drop-ins, manual pages. Run it again to
# upgrade. Neither the config nor the running daemon is touched. DESTDIR=DIR installs below DIR instead, as packagers do.
set -eu
cd "$(dirname "$0")/.."
to=${DESTDIR:-}
if [ ! -f dist/bin/uplinkd.js ] || [ ! -d node_modules ]; then
  echo "install.sh: nothing is built yet; type: npm run build" >&2
  exit 1
fi

# Made beside the old one and put in its place at the end: a daemon that starts meanwhile finds a whole tree.
lib=$to/usr/lib/uplinkd
rm -rf "$lib.new" "$lib.old"
mkdir -p "$lib.new/dist" "$to/usr/bin" "$to/etc/uplinkd"
cp -R package.json package-lock.json profiles LICENSE node_modules "$lib.new/"
cp -R dist/bin "$lib.new/dist/"
npm prune --prefix "$lib.new" --omit=dev --ignore-scripts --offline --no-audit --no-fund --loglevel=error >&2
chmod +x "$lib.new/dist/bin/uplinkd.js" "$lib.new/dist/bin/uplinkctl.js"
[ ! -e "$lib" ] || mv "$lib" "$lib.old"
mv "$lib.new" "$lib"
rm -rf "$lib.old"
ln -sf ../lib/uplinkd/dist/bin/uplinkd.js "$to/usr/bin/uplinkd"
ln -sf ../lib/uplinkd/dist/bin/uplinkctl.js "$to/usr/bin/uplinkctl"

put() { install -D -m 644 "$1" "$to$2"; }
put systemd/uplinkd.service /etc/systemd/system/uplinkd.service
put systemd/uplinkd.service.d/exec.conf /usr/share/doc/uplinkd/exec.conf
put systemd/sysusers.d/uplinkd.conf /etc/sysusers.d/uplinkd.conf
put systemd/sysctl.d/60-uplinkd.conf /etc/sysctl.d/60-uplinkd.conf
put systemd/networkd.conf.d/uplinkd.conf /etc/systemd/networkd.conf.d/uplinkd.conf
put systemd/rt_protos.d/uplinkd.conf /etc/iproute2/rt_protos.d/uplinkd.conf
put systemd/rt_tables.d/uplinkd.conf /etc/iproute2/rt_tables.d/uplinkd.conf
put docs/man/uplinkctl.1 /usr/share/man/man1/uplinkctl.1
put docs/man/uplinkd.8 /usr/share/man/man8/uplinkd.8

if [ -z "$to" ] && [ -d /run/systemd/system ]; then
  systemd-sysusers
  systemctl daemon-reload
fi
