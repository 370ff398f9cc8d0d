# look for folders of this machine
file=$1
shift
for folder; do
    if strings "$file" | grep -m 1 -F -e "$folder" >&2; then exit 1; fi
done
