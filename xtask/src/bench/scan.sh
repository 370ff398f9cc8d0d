cd "$1/bus/nd/devices" || exit 1
for namespace in namespace*; do
    line=$namespace
    for attribute in mode size resource uuid holder; do
        value=; [ -r "$namespace/$attribute" ] && read -r value <"$namespace/$attribute"
        line="$line $value"
    done
    claimer=$value
    [ -n "$claimer" ] || continue
    for attribute in mode align uuid size resource; do
        value=; [ -r "$claimer/$attribute" ] && read -r value <"$claimer/$attribute"
        line="$line $value"
    done
    echo "$line"
done
