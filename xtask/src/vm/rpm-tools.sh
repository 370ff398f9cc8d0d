# Packs rpm with its libraries and settings for a guest of this host's release: Debian's package depends on all of Perl.
# Arguments: the archive to make, the program.
set -e
{
    echo "$2"
    ldd "$2" | sed -n 's,^\t[^/]*\(/[^ ]*\) (.*,\1,p' | grep -v '/ld-linux\|/libc\.so\|/libm\.so'
    find /usr/lib/rpm -maxdepth 1 -type f -name 'rpm[rp]*'
    find /usr/lib/rpm -maxdepth 1 -type f -name macros
    find "/usr/lib/rpm/platform/$(uname -m)-linux" -type f
} | sed 's,^/lib/,/usr/lib/,; s,^/,,' | tar -C / --dereference -cf "$1" -T -
