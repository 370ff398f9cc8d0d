# Builds libnvdimm of a changed source. Arguments: what to do, the kernel's release, the folder of sources and headers.
# `unpack` goes on with the kernel's line, its image, and the .deb files of headers and source; `build` with the folder to
# leave libnvdimm.ko in.
set -e
what=$1 release=$2 tree=$3
shift 3
headers=$tree/usr/src/linux-headers-$release
case $what in
unpack)
    line=$1 image=$2
    shift 2
    rm -rf "$tree"
    mkdir -p "$tree/source"
    for deb; do dpkg-deb -x "$deb" "$tree"; done
    # The package's Makefile includes the other package's by its path in the system.
    sed -i "s,^include /usr/src/,include $tree/usr/src/," "$headers/Makefile"
    cd "$tree/source"
    name=linux-source-$line
    tar -xf "../usr/src/$name.tar.xz" --strip-components=1 "$name/drivers/nvdimm" "$name/scripts/extract-vmlinux"
    cp -r drivers/nvdimm pristine
    # The kernel's BTF: over it, pahole makes that of a module.
    sh scripts/extract-vmlinux "$image" > vmlinux
    objcopy --dump-section=.BTF="$tree/vmlinux.btf" vmlinux /dev/null
    ;;
build)
    # The compiler that the headers name, if the host has it.
    compiler=$(sed -n 's/^CC = .*[ )]//p' "$headers/.kernelvariables")
    [ -n "$compiler" ] && command -v "$compiler" >/dev/null || compiler=gcc
    # Guests take from Debian's own package what else the folder could make.
    LC_ALL=C make -C "$headers" -j "$(nproc)" M="$tree/source/drivers/nvdimm" CC="$compiler" CONFIG_BLK_DEV_PMEM= \
        CONFIG_ND_BTT= CONFIG_X86_PMEM_LEGACY= CONFIG_VIRTIO_PMEM= CONFIG_OF_PMEM= modules
    mkdir -p "$1"
    cp "$tree/source/drivers/nvdimm/libnvdimm.ko" "$1"
    LLVM_OBJCOPY=objcopy pahole -J -j --btf_base "$tree/vmlinux.btf" "$1/libnvdimm.ko"
    strip --strip-debug "$1/libnvdimm.ko"
    if ! objdump -h "$1/libnvdimm.ko" | grep -q ' \.BTF '; then echo "pahole left no .BTF" >&2 && exit 1; fi
    ;;
esac
