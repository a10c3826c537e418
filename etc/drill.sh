#!/bin/bash
# A drill: files are archived over several pairs of virtual tapes, the ledger is lost, tapes are damaged here and there, always one
# of a pair; then the ledger is rebuilt from the tapes, everything is restored and compared with what was archived. Run it by
# `make drill`, or with twintape on PATH: drill.sh FOLDER [ITEMS]. The folder must not exist.
set -euo pipefail
dir=${1:?name the folder of the drill, which must not exist}
items=${2:-400}
trap '[ $? = 0 ] || echo "the drill FAILED; what it left is in $dir" >&2' EXIT
mkdir "$dir"

step() { printf '%4d s  %s\n' $SECONDS "$1"; }

size=$((200000000 / items)) # bytes of an item: together they need more than three pairs of the smallest cartridges
twintape init --dir "$dir" --capacity 64MiB >/dev/null 2>&1
sed -i 's/^archive_size.*/archive_size = "10 MB"/; s/^record_size.*/record_size = "64 KiB"/; s/^flush_bytes.*/flush_bytes = "20 MB"/; s/^memory.*/memory = "16 MiB"/' "$dir/twintape.toml"
printf '[[host]]\nname = "pot1"\nsource = "local"\nroot = "data"\n' >>"$dir/twintape.toml"
export TWINTAPE_CONFIG=$dir/twintape.toml
for ((i = 0; i < items; i++)); do
	item=$dir/data/night.$((i % 7))/zen.$i.uv
	mkdir -p "$item/flags"
	head -c $size /dev/urandom | split -b $((size / 7 + 1)) - "$item/visdata."
	echo "header of $i" >"$item/header"
	ln -s header "$item/link"
	ln "$item/header" "$item/again"
	touch -d "2013-12-01T02:03:$((i % 60))Z" "$item/header" "$item"
done
step "$items items, $(find "$dir/data" -type f | wc -l) files made"

twintape queue add 'pot1:/night.*/*' >/dev/null
twintape archive --all --full >"$dir/archive.out" 2>"$dir/archive.log" || [ $? = 3 ]
pairs=$(twintape tapes | grep -c '^PAPR1.* written ')
[ "$(twintape queue ls | wc -l)" = 0 ] || [ -z "$(twintape --json queue ls)" ]
[ "$pairs" -ge 3 ]
step "archived and verified on $pairs pairs"

manifests() { for n in $(seq 1 "$pairs"); do for side in 1 2; do twintape tapes export PAPR${side}00$n; done; done | md5sum; }
before=$(manifests)
rm "$dir"/ledger.db*
step "the ledger is lost"

# flip changes a byte of a cartridge, at a part of its length in thousandths.
flip() {
	local size at was
	size=$(stat -c %s "$1")
	at=$((size * $2 / 1000))
	was=$(dd if="$1" bs=1 skip=$at count=1 status=none | od -An -tu1)
	printf '%b' "\\x$(printf %02x $((was ^ 65)))" | dd of="$1" bs=1 seek=$at conv=notrunc status=none
}
for n in $(seq 1 "$pairs"); do
	side=$((1 + n % 2))
	for at in 203 417 689; do flip "$dir/library/PAPR${side}00$n.tap" $at; done
done
step "one tape of each pair is damaged in three places"

twintape scan 'PAPR*' >"$dir/scan.out" 2>"$dir/scan.log" || twintape scan --deep 'PAPR*' >>"$dir/scan.out" 2>>"$dir/scan.log"
[ "$before" = "$(manifests)" ]
step "the ledger is rebuilt from $((2 * pairs)) tapes: it knows the same files, sums and places"

twintape restore pot1:/ --to "$dir/back" >"$dir/restore.out" 2>"$dir/restore.log"
grep -q 'did not give back what was written' "$dir/restore.log" # else nothing was damaged
diff -r --no-dereference "$dir/data" "$dir/back/pot1"
list() { (cd "$1" && find . -mindepth 2 -printf '%p %y %s %m %T@ %l\n' | sort); }
diff <(list "$dir/data" | grep -v '^\./[^/]* ') <(list "$dir/back/pot1" | grep -v '^\./[^/]* ')
step "everything is restored, each file from a good twin, and the same as before"
rm -r "$dir"
trap - EXIT
