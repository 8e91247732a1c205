#!/bin/bash
# `sluice cache` warms, pins, unpins, evicts and drops: by path in the mount and in the source, files and directories.
source "$(dirname "$0")/lib.sh"

need_root
mkdir -p "$WORK/source/hot/below" "$WORK/mount"
for i in 1 2 3 4 5 6 7 8; do
  head -c 500000 /dev/urandom >"$WORK/source/hot/below/file $i"
done
head -c 3000000 /dev/urandom >"$WORK/source/one"
truncate -s 300M "$WORK/source/film"
ln -s ../film "$WORK/source/hot/link"
let_settle "$WORK/source"
start_mount --cache-size 64M "$WORK/source" "$WORK/mount"
readonly kHotPages=$((8 * 123))

# WHAT OUTPUT COMMAND...: ends well and says this.
says() {
  local what=$1 expected=$2 output
  shift 2
  output=$("$@" 2>&1) || fail "$what: $output"
  equal "$what" "$output" "$expected"
}
# WHAT TEXT COMMAND...: is refused in one line that contains this, and changes nothing that is pinned.
refused() {
  local what=$1 expected=$2 output pinned
  shift 2
  pinned=$(status cache.pinned_bytes)
  if output=$("$@" 2>&1); then fail "$what: was not refused: $output"; fi
  [[ $output == *"$expected"* ]] || fail "$what: '$output' does not say '$expected'"
  equal "lines of: $what" "$(wc -l <<<"$output")" 1
  equal "pinned after: $what" "$(status cache.pinned_bytes)" "$pinned"
}
read_hot() { cat "$WORK/mount/hot/below/"* | cmp - <(cat "$WORK/source/hot/below/"*) || fail "hot files differ"; }

says "warm" "warm: 8 files, 4000000 bytes" "$SLUICE" cache warm "$WORK/mount/hot"
equal "resident after warming" "$(status cache.resident_bytes)" $((kHotPages * 4096))
equal "misses after warming" "$(status cache.misses)" 0
read_hot
equal "misses of warm files" "$(status cache.misses)" 0
hits=$(status cache.hits)
"$SLUICE" cache warm "$WORK/mount/hot" >/dev/null
equal "hits after warming what is cached" "$(status cache.hits)" "$hits"
says "warm in the source" "warm: 1 file, 3000000 bytes" "$SLUICE" cache warm "$WORK/source/one"
says "a file without room" "warm: 0 files, 0 bytes; 1 file of 314572800 bytes left out, the cache has no room for them" \
  "$SLUICE" cache warm "$WORK/mount/film"
says "a file without room among others" \
  "warm: 9 files, 7000000 bytes; 1 file of 314572800 bytes left out, the cache has no room for them" \
  "$SLUICE" cache warm "$WORK/mount"
"$SLUICE" cache drop "$WORK/mount" >/dev/null
"$SLUICE" cache warm "$WORK/mount" >/dev/null
misses=$(status cache.misses)
read_hot
equal "misses of what had room beside it" "$(status cache.misses)" "$misses"

says "pin" "pin: 8 files, 4000000 bytes" "$SLUICE" cache pin "$WORK/mount/hot/below"
equal "pinned" "$(status cache.pinned_bytes)" $((kHotPages * 4096))
refused "a pin that is too much" "more than half of the cache" "$SLUICE" cache pin "$WORK/mount"
dd if="$WORK/mount/film" of=/dev/null bs=1M status=none
misses=$(status cache.misses)
read_hot
equal "misses of pinned files" "$(status cache.misses)" "$misses"
"$SLUICE" cache drop "$WORK/mount" >/dev/null
equal "resident after dropping" "$(status cache.resident_bytes)" $((kHotPages * 4096))
printf x >>"$WORK/source/hot/below/file 1"  # from outside
read_hot
equal "pinned after a change from outside" "$(status cache.pinned_bytes)" $((kHotPages * 4096))

says "evict" "evict: 1 file, 503808 bytes" "$SLUICE" cache evict "$WORK/mount/hot/below/file 2"
says "evict what is not cached" "evict: 0 files, 0 bytes" "$SLUICE" cache evict "$WORK/mount/hot/below/file 2"
equal "pinned after evicting one" "$(status cache.pinned_bytes)" $(((kHotPages - 123) * 4096))
says "unpin" "unpin: 8 files, 4000001 bytes" "$SLUICE" cache unpin "$WORK/mount"
says "unpin what is not pinned" "unpin: 0 files, 0 bytes" "$SLUICE" cache unpin "$WORK/mount"
equal "pinned after unpinning" "$(status cache.pinned_bytes)" 0
"$SLUICE" cache drop "$WORK/mount" >/dev/null
equal "resident at last" "$(status cache.resident_bytes)" 0

"$SLUICE" cache pin "$WORK/mount/one" >/dev/null
rm "$WORK/mount/one"
wait_until 10 eval '(($(status cache.pinned_bytes) == 0))' || fail "a deleted file is still pinned"

# That a large file was warmed once does not give all of the cache to who reads it from end to end later.
truncate -s 40M "$WORK/source/reel"
stop_gateway
start_mount --cache-size 64M --large-file 20M "$WORK/source" "$WORK/mount"
"$SLUICE" cache warm "$WORK/mount/reel" >/dev/null
equal "resident of a large file after warming" "$(status cache.resident_bytes)" $((40 << 20))
"$SLUICE" cache evict "$WORK/mount/reel" >/dev/null
cat "$WORK/mount/reel" >/dev/null
at_most "resident of a stream after that" "$(status cache.resident_bytes)" $((9 << 20))

refused "no such file" "No such file" "$SLUICE" cache warm "$WORK/mount/none"
refused "a file of nobody" "is in no mount and no source" "$SLUICE" cache warm /etc/passwd
refused "no such action" "did you mean 'warm'" "$SLUICE" cache warn "$WORK/mount"
refused "an action without a path" "takes PATH" "$SLUICE" cache pin
for words in pin "warn x" resize "resize 9X" "resize 9M a b" "drop a b"; do
  status=0
  # shellcheck disable=SC2086
  "$SLUICE" cache $words 2>/dev/null || status=$?
  equal "exit status of 'cache $words'" "$status" 2
done
stop_gateway
