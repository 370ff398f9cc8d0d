# fill the disk of a guest
set -e
mkdir -p "$1/bin" "$1/share"
cp -l "$2" "$1/bin/prometheus" || cp "$2" "$1/bin/prometheus"
cp "$3/usr/bin/prometheus-alertmanager" "$1/bin/alertmanager"
cp -r "$3/usr/share/prometheus" "$1/share/"
