# make an eBPF object
set -e
if readelf -rW "$1" | grep -wE 'memcpy|memmove|memset|memcmp|bcmp' >&2; then
    echo "the kernel will refuse the eBPF programs, which call these: write word by word, or copy from a static" >&2
    exit 1
fi
LD_LIBRARY_PATH=$3/lib exec "$3"/lib/rustlib/*/bin/rust-objcopy --strip-debug "$1" "$2"
