# copy the sources
set -e
mkdir -p "$1"
for file in *; do
    case $file in target | docs) ;; *) cp -R "$file" "$1" ;; esac
done
rm -rf "$3"
for folder in bpf bpfel-unknown-none/bpf; do
    mkdir -p "$3/$folder"
    cp -al "$2/$folder/." "$3/$folder"
done
find "$3" -depth -name '*pfnwatch*' -exec rm -rf {} +
