#!/bin/bash
# Prints one tape file of a virtual cartridge (a SIMH .tap image), as `mt asf N` and `dd` would of a real one:
#   tapefile.sh PAPR1001.tap 1 | tar -tf -
# On a .tap lie records: the length in 4 bytes, the data padded to an even size, the length again. A length of 0 is a
# filemark; 0xFFFFFFFF, or the end of the image, is the end of the tape.
tap=$1 want=$2 file=0 at=0 end=$(stat -c %s "$1") || exit 1
while [ $at -lt "$end" ] && [ $file -le "$want" ]; do
	length=$(od -An -tu4 --endian=little -j $at -N 4 "$tap" | tr -d ' ')
	case $length in
	0) file=$((file + 1)) at=$((at + 4)); continue ;;
	4294967295 | '') break ;;
	esac
	[ $file = "$want" ] && dd if="$tap" iflag=skip_bytes,count_bytes skip=$((at + 4)) count="$length" bs=1M status=none
	at=$((at + 8 + length + length % 2))
done
