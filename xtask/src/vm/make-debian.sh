# Makes the root file system of a small Debian out of packages, without being root and without their own scripts.
# Arguments: the folder to make, the .deb files.
set -e
root=$1
shift
rm -rf "$root"
# The top folders are links into /usr, as in every Debian of today; packages still name them.
for name in bin sbin lib lib64; do
    mkdir -p "$root/usr/$name"
    ln -s "usr/$name" "$root/$name"
done
dpkg=$root/var/lib/dpkg
mkdir -p "$dpkg/info" "$dpkg/updates" "$dpkg/triggers"
for deb; do
    # libc6:amd64 if it may be installed for several architectures at once.
    package=$(dpkg-deb -f "$deb" Package)
    if [ "$(dpkg-deb -f "$deb" Multi-Arch)" = same ]; then package=$package:$(dpkg-deb -f "$deb" Architecture); fi
    # What no guest reads is left out.
    dpkg-deb --fsys-tarfile "$deb" | tar -x -v -C "$root" --keep-directory-symlink --exclude='./lib/udev/hwdb.d/*' \
        --exclude='./usr/lib/x86_64-linux-gnu/gconv/*' --exclude='./usr/share/doc/*' --exclude='./usr/share/i18n/*' \
        --exclude='./usr/share/info/*' --exclude='./usr/share/locale/*' --exclude='./usr/share/man/*' \
        --exclude='./usr/share/zoneinfo/*' | sed 's,^\.,,; s,/$,,; s,^$,/.,' > "$dpkg/info/$package.list"
    dpkg-deb -f "$deb" | sed '1a Status: install ok installed' >> "$dpkg/status"
    echo >> "$dpkg/status"
done
# What the packages' own scripts would do, or the host's owner, as far as it matters here.
cd "$root"
for name in passwd group; do cp "usr/share/base-passwd/$name.master" "etc/$name"; done
for name in run lock; do rm -rf "var/$name"; done
ln -s /run var/run
ln -s /run/lock var/lock
echo 'root:*::' > etc/gshadow
echo 'root:*:19000:0:99999:7:::' > etc/shadow
echo debian > etc/hostname
echo '127.0.0.1 localhost debian' > etc/hosts
# With an id of its own systemd takes the boot for no first one, and does not enable everything that it can.
echo 6f1c2a3b4d5e46f7a8b9c0d1e2f30415 > etc/machine-id
: > var/lib/dpkg/available
# Nothing of the journal is to be written to the disk, and all of it is to be kept.
printf '[Journal]\nStorage=volatile\nRateLimitIntervalSec=0\n' > etc/systemd/journald.conf
# Units that nobody needs in a guest without people.
for unit in getty.target serial-getty@.service systemd-firstboot.service systemd-logind.service \
    systemd-tmpfiles-clean.timer systemd-update-utmp.service systemd-update-utmp-runlevel.service; do
    ln -s /dev/null "etc/systemd/system/$unit"
done
