# Checks of `pfnwatch plan`. Each ends the shell that runs it, unless all is still as it was planned.
pfnwatch_stop() {
    echo "STOP: $*" >&2
    exit 1
}

# NAMESPACE ATTRIBUTE=VALUE…: is it the planned namespace? block= is the uuid of its pfn or dax device, media:DISK= the
# uuid in the info block on a raw device.
pfnwatch_same() {
    [ "$(id -u)" = 0 ] || pfnwatch_stop "only root sees who uses $1, and can rebuild it"
    namespace=$1
    shift
    for planned; do
        attribute=${planned%%=*}
        case $attribute in
            block)
                holder=$(cat "/sys/bus/nd/devices/$namespace/holder" 2>/dev/null) || holder=
                found=$(cat "/sys/bus/nd/devices/$holder/uuid" 2>/dev/null) || found=
                ;;
            media:*)
                found=$(dd if="/dev/${attribute#media:}" bs=16 skip=257 count=1 2>/dev/null | od -An -v -tx1 | tr -d ' ')
                ;;
            *) found=$(cat "/sys/bus/nd/devices/$namespace/$attribute" 2>/dev/null) || found= ;;
        esac
        [ "$found" = "${planned#*=}" ] || pfnwatch_stop \
            "$namespace is not the planned namespace: $attribute is ${found:-unknown}, planned was ${planned#*=}"
    done
}

# DEVICE: is it used by nothing? A disk (pmem0) or a character device (dax0.0).
pfnwatch_unused() {
    disk=/sys/block/$1
    for entry in "$disk/$1"p[0-9]* "$disk"/holders/* /sys/bus/dax/drivers/*kmem/"$1"; do
        [ ! -e "$entry" ] || pfnwatch_stop "/dev/$1 is in use: $entry"
    done
    kind=c
    number=$(cat "/sys/bus/dax/devices/$1/dev" 2>/dev/null) || number=
    if [ -e "$disk" ]; then
        kind=b
        number=$(cat "$disk/dev" 2>/dev/null) || number=
        mount=$(cat /proc/[0-9]*/mountinfo 2>/dev/null |
            grep -E "^[0-9]+ [0-9]+ $number |[ =]/dev/$1([ ,]|\$)") || mount=
        [ -z "$mount" ] || pfnwatch_stop "/dev/$1 is mounted, or the log of a mount: $mount"
        if grep -q "^/dev/$1[[:space:]]" /proc/swaps 2>/dev/null; then pfnwatch_stop "/dev/$1 is swap"; fi
        loop=$(grep -lx "/dev/$1" /sys/block/loop*/loop/backing_file 2>/dev/null) || loop=
        [ -z "$loop" ] || pfnwatch_stop "/dev/$1 is below a loop device: $loop"
    fi
    [ -n "$number" ] || pfnwatch_stop "/dev/$1 has no device number: who uses it cannot be seen"
    process=
    while read -r mode _ _ _ major minor _; do
        case $mode in
            /proc/*) process=$mode ;;
            "$kind"*) [ "${major%,}:$minor" != "$number" ] || pfnwatch_stop "/dev/$1 is open: $process" ;;
        esac
    done <<END
$(ls -lLn /proc/[0-9]*/fd 2>/dev/null)
END
    # With an error for a process that has ended meanwhile, the others are still listed.
    process=$(grep -l " /dev/$1\$" /proc/[0-9]*/maps 2>/dev/null) || :
    [ -z "$process" ] || pfnwatch_stop "/dev/$1 is mapped: $process"
}

# Does a rebuild under the kernel that runs now reserve no more than it should?
pfnwatch_good_kernel() {
    pfnwatch kernel --running >/dev/null ||
        pfnwatch_stop "pfnwatch kernel --running: this kernel is not known to reserve 64 bytes for each page"
}

# NAMESPACE: does ndctl rebuild it where it begins? Without --force, which skips its check for users as well, it takes only
# multiples of 16 MiB (check_dax_align in ndctl/namespace.c), and it looks only after the old block is gone.
pfnwatch_begins() {
    begin=$(cat "/sys/bus/nd/devices/$1/resource" 2>/dev/null) || pfnwatch_stop "where $1 begins cannot be read"
    [ "$((begin % 16777216))" -eq 0 ] ||
        pfnwatch_stop "$1 does not begin at a multiple of 16 MiB: ndctl would refuse to rebuild it"
}

# REGION SEED ALIGN: does the kernel offer this align to the region's next device? SEED is pfn or dax.
pfnwatch_offered() {
    offered=$(cat "/sys/bus/nd/devices/$(cat "/sys/bus/nd/devices/$1/$2_seed" 2>/dev/null)/supported_alignments" 2>/dev/null) || return 0
    case " $offered " in
        *" $3 "* | *"[$3]"*) ;;
        *) pfnwatch_stop "the kernel offers no align of $3 bytes in $1, only $offered" ;;
    esac
}

# REGION SIZE ALIGN: ndctl rebuilds a namespace only if its size is a multiple of its region's align.
pfnwatch_align() {
    align_file=/sys/bus/nd/devices/$1/align
    align_before=$(cat "$align_file" 2>/dev/null) || return 0
    [ "$(($2 % align_before))" -eq 0 ] || echo "$3" >"$align_file"
}

# The region's align as it was.
pfnwatch_align_back() {
    [ -z "$align_before" ] || echo "$align_before" >"$align_file"
}
