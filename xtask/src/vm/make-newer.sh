# make a package of a later version
set -e
rm -rf "$2"
mkdir -p "$2"
dpkg-deb -R "$1" "$2/tree"
sed -i 's/^Version: .*/&+later/' "$2/tree/DEBIAN/control"
dpkg-deb --root-owner-group -Zgzip -z1 -b "$2/tree" "$2/newer.deb"
