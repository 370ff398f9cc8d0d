# Builds libnvdimm of a changed source. Arguments: what to do, the kernel's release, the folder of sources and headers.
# `unpack` goes on with the kernel's line, its image, and the .deb files of headers and source; `build` with the folder to
# leave libnvdimm.ko in, and the name of the variant.
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
    out=$1 variant=$2
    cd "$tree/source"
    # $1: the file; $2: the line of it that has to be there once; $3: what replaces it.
    replace() {
        awk -v old="$2" -v new="$3" '$0 == old { $0 = new; found++ } { print } END { exit found != 1 }' \
            "pristine/$1" > "$1" && return
        echo "not once in drivers/nvdimm/$1 of this kernel: $2" >&2
        exit 1
    }
    size=64
    case $variant in max128) size=128 ;; max32*) size=32 ;; esac
    replace nd.h '#define MAX_STRUCT_PAGE_SIZE 64' "#define MAX_STRUCT_PAGE_SIZE $size"
    # The kernel's code tests the constant wherever the parameter's value would be tested.
    old='static const bool page_struct_override = IS_ENABLED(CONFIG_NVDIMM_KMSAN);' new=$old
    if [ "$variant" = max32-override ]; then
        new='#include <linux/moduleparam.h>\nstatic bool page_struct_override;\n'
        new=$new'module_param(page_struct_override, bool, 0444);\nMODULE_PARM_DESC(page_struct_override, '
        new=$new'"Reserve sizeof(struct page) where it is above the maximum");'
    fi
    replace pfn_devs.c "$old" "$new"
    # One folder serves all variants: make compiles only what differs from the one before, by the time of the last change.
    for file in nd.h pfn_devs.c; do
        cmp -s "$file" "drivers/nvdimm/$file" || cp "$file" drivers/nvdimm
    done
    # The compiler that the headers name, if the host has it.
    compiler=$(sed -n 's/^CC = .*[ )]//p' "$headers/.kernelvariables")
    [ -n "$compiler" ] && command -v "$compiler" >/dev/null || compiler=gcc
    # Guests take from Debian's own package what else the folder could make.
    LC_ALL=C make -C "$headers" -j "$(nproc)" M="$tree/source/drivers/nvdimm" CC="$compiler" CONFIG_BLK_DEV_PMEM= \
        CONFIG_ND_BTT= CONFIG_X86_PMEM_LEGACY= CONFIG_VIRTIO_PMEM= CONFIG_OF_PMEM= modules
    mkdir -p "$out"
    cp drivers/nvdimm/libnvdimm.ko "$out"
    LLVM_OBJCOPY=objcopy pahole -J -j --btf_base "$tree/vmlinux.btf" "$out/libnvdimm.ko"
    strip --strip-debug "$out/libnvdimm.ko"
    if ! objdump -h "$out/libnvdimm.ko" | grep -q ' \.BTF '; then echo "pahole left no .BTF" >&2 && exit 1; fi
    ;;
esac
