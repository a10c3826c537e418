#!/bin/bash
# Shows the main job in ./demo: observations on two hosts, one of them behind SSH, are archived onto a pair of virtual
# tapes in one pass and read back; then one file is brought back without twintape. Run it by `make demo`.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH=$PWD/bin:$PATH

server=
finish() {
	status=$?
	if [ -n "$server" ]; then
		kill "$server" 2>/dev/null || true
		wait "$server" 2>/dev/null || true
	fi
	if [ $status != 0 ]; then echo "the demonstration failed; what it made so far is in ./demo" >&2; fi
	exit $status
}
trap finish EXIT
trap 'exit 130' INT TERM

# say shows a command as one types it, and runs it.
say() {
	printf '\n$ %s\n' "$1"
	eval "$1"
}

rm -rf demo
mkdir demo
generate -dir demo/pot1/data -count 4 -size 40MB -seed 1 -pols xx,yy >demo/made
generate -dir demo/pot5/data -count 4 -size 40MB -seed 5 -first 2456621.16691 -pols xx,yy >>demo/made
echo "made $(wc -l <demo/made) observations, $(du -sh --total demo/pot1 demo/pot5 | tail -1 | cut -f1), on two hosts: pot1 is this machine, pot5 answers over SSH"

mkfifo demo/address
serve -root demo/pot5 -identity demo/id_ed25519 -known-hosts demo/known_hosts >demo/address &
server=$!
read -r address <demo/address
rm demo/address

say "twintape init --dir demo"
sed -i 's/^archive_size.*/archive_size = "100 MB"/; s/^flush_bytes.*/flush_bytes = "200 MB"/; s/^memory.*/memory = "128 MiB"/' demo/twintape.toml
cat >>demo/twintape.toml <<END

[[host]]
name = "pot1"
source = "local"
root = "pot1"

[[host]]
name = "pot5"
source = "sftp"
address = "$address"
user = "demo"
identity_file = "id_ed25519"
known_hosts = "known_hosts"
END
export TWINTAPE_CONFIG=demo/twintape.toml

say "twintape ls pot5:/data"
say "twintape queue add 'pot1:/data/**/zen.*.uv' 'pot5:/data/**/zen.*.uv'"
say "twintape archive"
say "twintape tapes"
name=pot5/data/zen.2456621.16691.xx.uv/visdata # as tar has it
say "twintape find 'pot5:/data/zen.2456621.16691.xx.uv/visdata'"

# What is brought back comes from the second tape; it needs neither twintape nor its ledger.
number=$(twintape find "pot5:${name#pot5}" | grep -o 'tape file [0-9]*')
number=${number##* }
mkdir demo/back
printf '\nWithout twintape, from the twin:\n'
say "etc/tapefile.sh demo/library/PAPR2001.tap $number | tar -C demo/back --wildcards -xf - '$name' '.twintape/*.MD5SUMS'"
say "(cd demo/back && grep -hF '$name' .twintape/*/*.MD5SUMS | md5sum -c)"
cmp "demo/back/$name" "demo/${name}"

cat <<END

The demonstration took $SECONDS s. Everything is in ./demo; look further with:
  export TWINTAPE_CONFIG=demo/twintape.toml
  bin/twintape tapes show PAPR1001 --items
  bin/twintape jobs show 1
  bin/twintape find visdata --commands
  bin/twintape verify PAPR1001 PAPR2001 --full
  bin/twintape queue add 'pot1:/data/**/zen.*.uv'   # nothing is archived twice
END
