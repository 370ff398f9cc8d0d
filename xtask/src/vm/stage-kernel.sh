# Unpacks a kernel's packages for guests: the image, and some modules with what they depend on, uncompressed.
# Arguments: the release, the folder to make, the names of the modules in one word, the .deb files.
set -e
release=$1 home=$2 modules=$3
shift 3
rm -rf "$home"
mkdir -p "$home/whole"
for deb; do dpkg-deb -x "$deb" "$home/whole"; done
cd "$home"
[ -d whole/lib ] || ln -s usr/lib whole/lib
for image in "whole/boot/vmlinuz-$release" "whole/lib/modules/$release/vmlinuz"; do
    if [ -e "$image" ]; then mv "$image" vmlinuz; fi
done
depmod -b whole "$release"
# Without it, modprobe lists only what a module cannot do without.
rm -f "whole/lib/modules/$release/modules.softdep"
to=lib/modules/$release/kernel
mkdir -p "$to"
# A kernel that has a module built in, or does not have it yet, has no file for it.
for module in $modules; do
    modprobe -C /dev/null -d whole -S "$release" --show-depends "$module" 2>/dev/null || true
done | sed -n 's/^insmod //p' | sort -u | xargs cp -t "$to"
find "$to" -name '*.xz' -exec xz -d {} +
rm -r whole
for file in vmlinuz "$to/libnvdimm.ko"; do
    if ! [ -e "$file" ]; then echo "kernel $release has no ${file##*/}" >&2 && exit 1; fi
done
depmod -b . "$release"
echo "$modules" > wanted-modules
