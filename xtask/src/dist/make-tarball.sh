# Packs a tree of files as dpkg unpacks it, with a script that installs it.
# Arguments: the script, the tree, the file to make. SOURCE_DATE_EPOCH is the time of every file.
set -e
script=$1 tree=$2 file=$3
name=${file##*/}
name=${name%.tar.gz}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp -R --preserve=mode "$tree" "$work/$name"
# What only Debian has at this place.
mkdir -p "$work/$name/usr/share/zsh/site-functions"
mv "$work/$name/usr/share/zsh/vendor-completions/_pfnwatch" "$work/$name/usr/share/zsh/site-functions"
rmdir "$work/$name/usr/share/zsh/vendor-completions"
cp --preserve=mode "$script" "$work/$name"
chmod -R u=rwX,go=rX "$work/$name"
tar --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$SOURCE_DATE_EPOCH" --format=gnu \
    -C "$work" -cf "$work/archive" "$name"
gzip -9n <"$work/archive" >"$file"
