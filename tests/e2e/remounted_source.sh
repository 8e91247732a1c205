#!/bin/bash
# A local file system that is unmounted under the gateway is still in use, by the gateway: everything goes on, and mounted
# again it is the same one. With --watch what others change in it is then seen at once, as before.
source "$(dirname "$0")/lib.sh"
need_root
need mkfs.ext4

sees() { [[ $(cat "$WORK/mount/$1" 2>&1) == "$2" ]]; }  # FILE CONTENT
# Nothing is seen by time passing.
for_ever=(--attr-timeout 1h --entry-timeout 1h --negative-timeout 1h)
changes_are_seen() {  # WHEN
  local round
  for round in 1 2 3; do
    echo "$1 $round" >"$WORK/source/file"
    wait_until 5 sees file "$1 $round" || fail "$1: new content is not seen: $(cat "$WORK/mount/file" 2>&1)"
    touch "$WORK/source/name$round"
    wait_until 5 test -e "$WORK/mount/name$round" || fail "$1: a new name is not seen"
    rm "$WORK/source/name$round"
    wait_until 5 test ! -e "$WORK/mount/name$round" || fail "$1: a name that is gone is seen"
  done
  at_least "$1: events" "$(status store.watch_events)" 3
}

mkdir "$WORK/source" "$WORK/mount"
truncate -s 64M "$WORK/image"
mkfs.ext4 -q "$WORK/image"
device=$(losetup --find --show "$WORK/image") || skip "no loop device"
mount "$device" "$WORK/source" && losetup --detach "$device" || fail "cannot be mounted"  # goes with its last user
echo before >"$WORK/source/file"

start_mount --watch --kernel-cache auto "${for_ever[@]}" "$WORK/source" "$WORK/mount"
changes_are_seen "before"
umount "$WORK/source"
empty "the directory beneath" "$(ls -A "$WORK/source")"
sees file "before 3" || fail "unmounted: a file that was cached"
echo written >"$WORK/mount/unmounted" || fail "unmounted: no file can be made"
empty "the directory beneath, after writing" "$(ls -A "$WORK/source")"
mount "$device" "$WORK/source" || fail "it cannot be mounted again"
equal "what was written meanwhile" "$(cat "$WORK/source/unmounted")" written
changes_are_seen "again"
umount "$WORK/source"
stop_gateway
is_free() { ! losetup "$device" >/dev/null 2>&1; }
wait_until 10 is_free || fail "the gateway has ended, and its file system is still in use"
e2fsck -fn "$WORK/image" >/dev/null 2>&1 || fail "the file system is damaged"
