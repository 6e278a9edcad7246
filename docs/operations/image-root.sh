#!/bin/sh
# Puts together everything that the server's image holds: image-root.sh PROGRAM FOLDER
set -eu
program=$1 root=$2
mkdir -p "$root/data" "$root/tmp" "$root/etc/ssl/certs"
cp "$program" "$root/openclaw-server"
# The C library with its loader, at the very places where the program looks for them.
ldd "$program" | awk '{ for (i = 1; i <= NF; i++) if ($i ~ /^\//) print $i }' | while read -r library; do
  mkdir -p "$root$(dirname "$library")"
  cp -L "$library" "$root$library"
done
cp -L /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
echo 'openclaw:x:10001:10001::/data:/' > "$root/etc/passwd"
echo 'openclaw:x:10001:' > "$root/etc/group"
# Names are looked up in the hosts file first, as everywhere.
echo 'hosts: files dns' > "$root/etc/nsswitch.conf"
chmod 1777 "$root/tmp"
chmod 700 "$root/data"
