#!/bin/bash
# What was cached comes back after a restart, by mount and by HTTP, but not files that changed meanwhile. A list that is
# none is refused; a killed gateway leaves the list of the start before.
source "$(dirname "$0")/lib.sh"

need_root
mkdir -p "$WORK/source/d" "$WORK/mount"
for i in 1 2 3 4; do head -c 400000 /dev/urandom >"$WORK/source/d/file $i"; done
head -c 40000000 /dev/urandom >"$WORK/source/part"
let_settle "$WORK/source"
readonly LIST=$WORK/list
begin() { start_mount --cache-size 64M --http 127.0.0.1:0 --warm-restart "$LIST" "$WORK/source" "$WORK/mount"; }
is_restored() { (($(status cache.resident_bytes) >= $1)); }

begin
cat "$WORK/mount/d/"* >/dev/null
dd if="$WORK/mount/part" of=/dev/null bs=64K skip=100 count=1 status=none  # and what is read ahead
curl -sS -o /dev/null -r 0-4095 "$HTTP/part"
used=$(status cache.resident_bytes)
stop_gateway
equal "mode of the list" "$(stat -c %a "$LIST")" 600

begin
wait_until 20 is_restored $((4 * 98 * 4096)) || fail "restored: $(status cache.resident_bytes) of $used bytes"
misses=$(status cache.misses)
cat "$WORK/mount/d/"* | cmp - <(cat "$WORK/source/d/"*) || fail "the files differ"
curl -sS -r 0-4095 "$HTTP/part" | cmp - <(head -c 4096 "$WORK/source/part") || fail "the first page differs"
equal "misses after a restart" "$(status cache.misses)" "$misses"
at_most "restored bytes" "$(status cache.resident_bytes)" "$used"
stop_gateway

printf y | dd of="$WORK/source/d/file 2" conv=notrunc status=none
rm "$WORK/source/d/file 3"
begin
wait_until 20 is_restored $((2 * 98 * 4096)) || fail "restored after changes: $(status cache.resident_bytes)"
equal "misses before the changed file is read" "$(status cache.misses)" 0
cmp "$WORK/mount/d/file 2" "$WORK/source/d/file 2" || fail "the changed file differs"
at_least "misses of the changed file" "$(status cache.misses)" 1
cp "$LIST" "$WORK/before"
kill -KILL "$GATEWAY"
await_end "$GATEWAY" 2>/dev/null || true
same_bytes "$LIST" "$WORK/before"
"$SLUICE" umount "$WORK/mount" || fail "the dead mount stays"

# One that is damaged, or empty, keeps nobody from the files.
{ cat "$WORK/before"; echo "file 12"; } >"$LIST"
begin
wait_until 10 grep -q "'$LIST' is damaged (line .*: no file): what follows in it is not cached again" "${LOG_OF[$GATEWAY]}" ||
  fail "nothing is said of the damaged list"
wait_until 20 is_restored 4096 || fail "nothing is cached again of a damaged list"
stop_gateway
: >"$LIST"
begin
stop_gateway

# Of a large file what was read again and stayed comes back whole, though a stream would get a sixteenth of the cache.
rm "$LIST"
begin_large() { start_mount --cache-size 128M --large-file 20M --warm-restart "$LIST" "$WORK/source" "$WORK/mount"; }
begin_large
for _ in 1 2; do dd if="$WORK/mount/part" of=/dev/null bs=1M count=24 status=none; done
at_least "resident of what was read again" "$(status cache.resident_bytes)" $((24 << 20))
stop_gateway
begin_large
wait_until 20 is_restored $((24 << 20)) || fail "restored of a large file: $(status cache.resident_bytes)"
stop_gateway

# In a smaller cache what there is room for comes back, also when it is less than a file.
start_mount --cache-size 16M --large-file 0 --warm-restart "$LIST" "$WORK/source" "$WORK/mount"
wait_until 20 is_restored $((8 << 20)) || fail "restored in a smaller cache: $(status cache.resident_bytes)"
stop_gateway

echo nonsense >"$LIST"
if output=$("$SLUICE" mount --warm-restart "$LIST" "$WORK/source" "$WORK/mount" 2>&1); then fail "took a list that is none"; fi
[[ $output == *"$LIST"*"not a warm list"*"remove it"* ]] || fail "the complaint: $output"
