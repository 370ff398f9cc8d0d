# Checks a package as its user would: its files, which root owns, its scripts, and what systemd makes of its unit.
# Arguments: the package, the program in it as it was built, the folder of the unit, the same program for this host.
set -e
export LC_ALL=C
deb=$1 program=$2 units=$3 host_program=$4
fail() {
    echo "$*" >&2
    exit 1
}

# cargo-deb leaves the names of users out.
contents=$(dpkg-deb --contents "$deb" | awk '$2 == "root/root" || $2 == "0/0" { print $1, $NF }')
has() {
    echo "$contents" | grep -qxF -e "$1 ./$2" || fail "the package lacks $2 with $1, owned by root; it has:
$contents"
}
has -rwxr-xr-x usr/bin/pfnwatch
for file in \
    etc/pfnwatch/pfnwatch.toml \
    usr/lib/systemd/system/pfnwatch.service usr/lib/sysusers.d/pfnwatch.conf usr/lib/tmpfiles.d/pfnwatch.conf \
    usr/share/bash-completion/completions/pfnwatch usr/share/fish/vendor_completions.d/pfnwatch.fish \
    usr/share/zsh/vendor-completions/_pfnwatch usr/share/man/man1/pfnwatch.1.gz \
    usr/share/man/man1/pfnwatch-run.1.gz usr/share/man/man1/pfnwatch-policy-check.1.gz \
    usr/share/doc/pfnwatch/install.md usr/share/doc/pfnwatch/reference/events.md usr/share/doc/pfnwatch/runbook.md \
    usr/share/doc/pfnwatch/troubleshooting.md usr/share/doc/pfnwatch/changelog.gz usr/share/doc/pfnwatch/copyright \
    usr/share/doc/pfnwatch/examples/pfnwatch.toml; do
    has -rw-r--r-- "$file"
done
# pfnwatch itself has a page, and its command `help` has none.
commands=$("$host_program" --help | sed -n '/^Commands:$/,/^$/p' | grep -c '^  [a-z]') || fail "--help lists no commands"
pages=$(echo "$contents" | grep -c '/man1/pfnwatch.*\.1\.gz$')
[ "$pages" -ge "$commands" ] || fail "the package has $pages man pages for $commands commands"

# It needs no library and no loader of the host's.
! readelf --program-headers --dynamic "$program" | grep -E 'INTERP|NEEDED' >&2 || fail "the binary is not static"
# A budget of the design. Without LTO, as one builds again and again, it is larger.
size=$(stat -c %s "$program")
[ -n "${CARGO_PROFILE_RELEASE_LTO+set}" ] || [ "$size" -le $((10 << 20)) ] || fail "the binary has $size bytes"

folder=$(mktemp -d)
trap 'rm -r "$folder"' EXIT
dpkg-deb --control "$deb" "$folder"
cp "$units/pfnwatch.service" "$folder"
cd "$folder"
[ "$(cat conffiles)" = /etc/pfnwatch/pfnwatch.toml ] || fail "the conffiles are $(cat conffiles)"
while read -r file line; do
    grep -qF -e "$line" "$file" || fail "$file lacks \`$line\`: $(cat "$file")"
done <<'LINES'
control Package: pfnwatch
control Depends: systemd |
postinst systemd-sysusers ${DPKG_ROOT:+--root="$DPKG_ROOT"} pfnwatch.conf
postinst deb-systemd-helper enable pfnwatch.service
postinst _dh_action=restart
prerm deb-systemd-invoke stop pfnwatch.service
prerm pfnwatch guard release
postrm groupdel pfnwatch
postrm rm -rf /var/lib/pfnwatch
postrm deb-systemd-helper purge pfnwatch.service
LINES
for script in postinst prerm postrm; do sh -n "$script"; done

if ! command -v systemd-analyze >/dev/null; then
    echo "the unit was not verified: this host has no systemd-analyze" >&2
    exit
fi
sed -i "s,^ExecStart=/usr/bin/pfnwatch,ExecStart=$host_program," pfnwatch.service
flaws=$(systemd-analyze verify --man=no pfnwatch.service 2>&1) || fail "systemd-analyze verify: $flaws"
case $flaws in *pfnwatch.service*) fail "systemd-analyze verify: $flaws" ;; esac
# The exposure that systemd 252 finds, times ten (docs/install.md names it): no change may raise it unseen.
systemd-analyze security --offline=yes --no-pager --threshold=36 pfnwatch.service >"$folder/exposure" ||
    fail "the unit is more exposed than it was: $(cat "$folder/exposure")"
