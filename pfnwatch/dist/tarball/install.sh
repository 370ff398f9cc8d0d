#!/bin/sh
# Installs pfnwatch from the folder of this script into a system without dpkg or rpm, or removes it again.
# Usage: ./install.sh [--root DIR], ./install.sh --remove [--root DIR]
# A root other than / gets the files alone.
set -eu
remove=false root=
while [ $# -gt 0 ]; do
    case $1 in
    --remove) remove=true ;;
    --root)
        [ $# -ge 2 ] || { echo "install.sh: --root needs a folder" >&2 && exit 2; }
        root=${2%/}
        shift
        ;;
    *)
        echo "install.sh: unknown argument $1; usage: install.sh [--remove] [--root DIR]" >&2
        exit 2
        ;;
    esac
    shift
done
cd "$(dirname "$0")"
program=usr/bin/pfnwatch
configuration=etc/pfnwatch/pfnwatch.toml
is_running_system=false
if [ -z "$root" ]; then is_running_system=true; fi
has_systemd=false
if $is_running_system && [ -d /run/systemd/system ]; then has_systemd=true; fi

if $remove; then
    if $has_systemd; then systemctl disable --now pfnwatch.service || true; fi
    # A guard that holds on without an agent would judge on when nobody is left to ask.
    if $is_running_system && [ -x /$program ]; then /$program guard release >/dev/null || true; fi
    find usr -type f | while read -r file; do rm -f "$root/$file"; done
    find usr -depth -type d -name pfnwatch | while read -r folder; do
        if [ -d "$root/$folder" ]; then find "$root/$folder" -depth -type d -exec rmdir {} + 2>/dev/null || true; fi
    done
    if $has_systemd; then systemctl daemon-reload; fi
    echo "removed; the configuration in $root/etc/pfnwatch and the event store in $root/var/lib/pfnwatch are left"
    exit
fi

# The wrong archive would install, and then never start.
if $is_running_system && ! ./$program --version >/dev/null 2>&1; then
    echo "install.sh: ./$program does not run on this machine ($(uname -m)): is this the archive of its architecture?" >&2
    exit 1
fi
find usr -type f | while read -r file; do
    mkdir -p "$root/${file%/*}"
    # A program that runs cannot be written to: it is replaced.
    cp "$file" "$root/$file.new"
    mv -f "$root/$file.new" "$root/$file"
done
mkdir -p "$root/${configuration%/*}"
if [ ! -e "$root/$configuration" ]; then
    cp "$configuration" "$root/$configuration"
elif ! cmp -s "$configuration" "$root/$configuration"; then
    cp "$configuration" "$root/$configuration.new"
    echo "$root/$configuration was kept; this version's is $root/$configuration.new"
fi
if $has_systemd; then
    systemd-sysusers pfnwatch.conf
    systemd-tmpfiles --create pfnwatch.conf
    systemctl daemon-reload
    systemctl try-restart pfnwatch.service
    echo "installed; systemctl enable --now pfnwatch starts it in audit mode: it refuses nothing"
else
    echo "installed; pfnwatch run starts it in audit mode: it refuses nothing"
fi
