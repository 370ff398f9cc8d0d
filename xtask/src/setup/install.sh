# Installs Debian packages from the system's own sources and, if one is named, from one more suite, which is then preferred.
# Arguments: a folder for package lists of our own, so that the system's stay as they are and root is not needed to fetch
# them; the suite and its source, or two empty words; the packages.
set -e
export LC_ALL=C
lists=$1 suite=$2 source=$3
shift 3
by_hand="apt-get install ${suite:+-t $suite }$*${suite:+ (with $suite among apt\'s sources)}"
if ! command -v apt-get >/dev/null; then
    echo "missing on this host: $*, and apt-get, which is part of Debian and Ubuntu" >&2
    exit 1
fi
root=env
if [ "$(id -u)" != 0 ]; then
    # -n: there is no terminal for a password.
    root="sudo -n env"
    if ! sudo -n true; then
        echo "missing on this host: $*; as root: $by_hand" >&2
        exit 1
    fi
fi
mkdir -p "$lists/lists/partial"
cat /etc/apt/sources.list > "$lists/sources.list" 2>/dev/null || true
echo "$source" >> "$lists/sources.list"
# The user _apt could not write to the folder.
options="-qq -oDir::Etc::sourcelist=$lists/sources.list -oDir::State::lists=$lists/lists -oDir::Cache::pkgcache= \
    -oDir::Cache::srcpkgcache= -oAPT::Sandbox::User= -oAcquire::Languages=none"
# apt fails now and then, and succeeds at the second try. A failure is no end here: the package may be known already.
apt-get update $options || apt-get update $options || echo "going on with the indexes that could be fetched" >&2
install="$root DEBIAN_FRONTEND=noninteractive LC_ALL=C apt-get install $options --yes --no-install-recommends --no-remove"
if ! $install ${suite:+-t $suite} "$@" && ! $install ${suite:+-t $suite} "$@"; then
    echo "cannot install $*; by hand, as root: $by_hand" >&2
    exit 1
fi
