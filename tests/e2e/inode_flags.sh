#!/bin/bash
# lsattr(1) and chattr(1) on a mount do what they do on the backing itself, for root, the owner and others, and what the
# flags forbid is forbidden on both.
source "$(dirname "$0")/lib.sh"
need_root
need lsattr chattr setpriv

# Flags outlive what they forbid: nothing of it may stay.
let_go() {
  local code=$?
  set +e
  chattr -R -f -ia "$WORK/plain" "$WORK/source"
  (exit "$code")
  cleanup
}
trap let_go EXIT

mkdir "$WORK/plain" "$WORK/source" "$WORK/mount"
chmod 777 "$WORK" "$WORK/plain" "$WORK/source"
touch "$WORK/plain/probe"
chattr +i "$WORK/plain/probe" 2>/dev/null || skip "the file system of $WORK has no flags"
chattr -i "$WORK/plain/probe"
rm "$WORK/plain/probe"

as_user() { setpriv --reuid "$1" --regid "$1" --clear-groups "${@:2}"; }
say_result() {  # COMMAND...
  local code=0
  "$@" 2>&1 || code=$?
  echo "$code: $*"
}
use_flags() {  # DIRECTORY
  cd "$1" || exit
  echo one >file
  mkdir folder
  mkfifo pipe
  ln -s file link
  chown 1000:1000 file
  say_result lsattr -d file folder pipe link
  say_result chattr +i file
  say_result lsattr file
  say_result bash -c 'echo two >>file'
  say_result as_user 1000 chmod 600 file
  say_result mv file other
  say_result rm -f file
  say_result as_user 1000 chattr -i file
  say_result chattr -i file
  say_result as_user 1000 chattr +dA file
  say_result as_user 1001 chattr -d file
  say_result as_user 1000 lsattr file
  say_result chattr +a file
  say_result bash -c 'echo two >file'
  say_result truncate -s 0 file
  say_result chattr -a file
  say_result cat file
  say_result chattr +A folder
  say_result chattr +i pipe
  mkdir folder/below
  say_result lsattr -d folder folder/below
  say_result chattr -p 77 file
  say_result lsattr -p file
}

expected=$(use_flags "$WORK/plain")
start_mount --attr-timeout 1h --entry-timeout 1h "$WORK/source" "$WORK/mount"
equal "what is said on the mount" "$(use_flags "$WORK/mount")" "$expected"
equal "flags in the backing" "$(cd "$WORK/source" && lsattr -d file folder)" "$(cd "$WORK/plain" && lsattr -d file folder)"
# Blocks of the cache are written where they belong, which the kernel allows nobody here: a limit that the manual names.
chattr +a "$WORK/mount/file"
bash -c 'echo two >>"$1"' - "$WORK/mount/file" 2>/dev/null && fail "a file that may only grow was opened for writing"
equal "a file that may only grow" "$(cat "$WORK/mount/file")" one
chattr -a "$WORK/mount/file"
grep -q "not permitted" <<<"$expected" || fail "nothing was forbidden: $expected"
stop_gateway

start_mount -o ro "$WORK/source" "$WORK/mount"
chattr +d "$WORK/mount/folder" 2>/dev/null && fail "a flag was set by a mount that is read-only"
lsattr -d "$WORK/mount/folder" >/dev/null || fail "flags cannot be read by a mount that is read-only"
stop_gateway
