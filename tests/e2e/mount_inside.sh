#!/bin/bash
# A MOUNTPOINT inside SOURCE, and one that is SOURCE itself: the tree is there once, walking it ends, writes reach the
# backing, and unmounting uncovers what was there.
source "$(dirname "$0")/lib.sh"
need_root

walk() { (cd "$1" && timeout 20 find . | sort); }
make_tree() {
  mkdir -p "$1/a/b" "$1/inner/mount"
  echo one >"$1/a/one"
  echo two >"$1/a/b/two"
}

mounted_inside() {
  make_tree "$WORK/inside"
  local before
  before=$(walk "$WORK/inside")
  start_mount --http 127.0.0.1:0 "$WORK/inside" "$WORK/inside/inner/mount"
  equal "the tree in itself" "$(walk "$WORK/inside/inner/mount")" "$before"
  equal "entries where the mount is, seen through it" "$(ls -A "$WORK/inside/inner/mount/inner/mount")" ""
  echo three >"$WORK/inside/inner/mount/a/three"
  equal "a write through the mount" "$(cat "$WORK/inside/a/three")" three
  equal "by HTTP" "$(curl -sS "$HTTP/a/three")" three
  equal "the mountpoint by HTTP" "$(http_code "$HTTP/inner/mount/a/one")" 404
  du -s "$WORK/inside" >/dev/null || fail "du does not end well"
  stop_gateway
  equal "entries of the mountpoint afterwards" "$(ls -A "$WORK/inside/inner/mount")" ""
}

mounted_over_itself() {
  make_tree "$WORK/same"
  local before
  before=$(walk "$WORK/same")
  start_mount --http 127.0.0.1:0 "$WORK/same" "$WORK/same"
  equal "the tree over itself" "$(walk "$WORK/same")" "$before"
  equal "type of what is seen" "$(stat -f -c %t "$WORK/same")" 65735546  # FUSE_SUPER_MAGIC
  echo four >"$WORK/same/a/four"
  mv "$WORK/same/a/one" "$WORK/same/a/b/one"
  equal "by HTTP" "$(curl -sS "$HTTP/a/b/one")" one
  stop_gateway
  equal "a write through the mount, afterwards" "$(cat "$WORK/same/a/four")" four
  equal "a rename through the mount, afterwards" "$(cat "$WORK/same/a/b/one")" one
}

# What is mounted below SOURCE is not part of it: its mountpoint is seen as it is on SOURCE's own file system.
nested_mount() {
  mkdir -p "$WORK/outer/nested" "$WORK/mount"
  mount -t tmpfs none "$WORK/outer/nested"
  echo hidden >"$WORK/outer/nested/file"
  start_mount "$WORK/outer" "$WORK/mount"
  equal "entries of a nested mount" "$(ls -A "$WORK/mount/nested")" ""
  stop_gateway
  umount "$WORK/outer/nested"
}

mounted_inside
mounted_over_itself
nested_mount
