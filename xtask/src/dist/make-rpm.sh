# Makes an RPM of a tree of files as dpkg unpacks it.
# Arguments: the spec, the architecture, the version, the tree, the file to make. SOURCE_DATE_EPOCH is the time of every file.
set -e
spec=$1 architecture=$2 version=$3 tree=$4 file=$5
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp -R --preserve=mode "$tree" "$work/tree"
# What only Debian has at this place.
mkdir -p "$work/tree/usr/share/zsh/site-functions"
mv "$work/tree/usr/share/zsh/vendor-completions/_pfnwatch" "$work/tree/usr/share/zsh/site-functions"
rmdir "$work/tree/usr/share/zsh/vendor-completions"
find "$work/tree" -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +
# Without the host's own settings.
HOME=$work rpmbuild -bb --quiet --target "$architecture" --define "_topdir $work" --define "_rpmdir $work/made" \
    --define "_dbpath $work/db" --define "pfnwatch_version $version" --define "pfnwatch_tree $work/tree" "$spec"
mv "$work/made/$architecture"/*.rpm "$file"
