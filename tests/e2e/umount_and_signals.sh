#!/bin/bash
# A gateway ends well in each of the ways that people end one, also while files are open: SIGTERM, SIGINT, `sluice umount`,
# umount(8). It unmounts, exits with 0 and takes its control socket away. In the background as in the foreground, and
# when mount(8) starts it.
source "$(dirname "$0")/lib.sh"
need_root
need_fuse

no_socket() { [[ ! -e /run/sluice/$1.sock ]]; }
gone() { ! is_mounted "$WORK/mount"; }

hold_open() {  # FILE; until told to end, as an editor would
  exec 7<"$1" 8>>"$1"
}
let_go() { exec 7<&- 8>&-; }

nothing_is_left() {  # WHAT PROCESS
  is_mounted "$WORK/mount" && fail "$1: still mounted"
  no_socket "$2" || fail "$1: /run/sluice/$2.sock is left"
  equal "$1: what the mountpoint shows" "$(ls -A "$WORK/mount")" ""
}

ends_by_signal() {  # SIGNAL
  start_mount --http 127.0.0.1:0 "$WORK/source" "$WORK/mount"
  [[ -S /run/sluice/$GATEWAY.sock ]] || fail "no control socket"
  hold_open "$WORK/mount/file"
  echo "$1" >&8
  kill "-$1" "$GATEWAY"
  wait_until 20 has_ended "$GATEWAY" || fail "$1: does not end while a file is open"
  local process=$GATEWAY
  await_end "$process" || fail "$1: not exit code 0"
  nothing_is_left "$1" "$process"
  let_go
  grep -q "$1" "$WORK/source/file" || fail "$1: a write before it is lost"
}

ends_by_command() {  # COMMAND...
  start_mount "$WORK/source" "$WORK/mount"
  local process=$GATEWAY
  "$@" "$WORK/mount" || fail "$*: failed"
  wait_until 20 has_ended "$process" || fail "$*: the gateway stays"
  await_end "$process" || fail "$*: not exit code 0"
  nothing_is_left "$*" "$process"
}

ends_by_command_with_open_files() {
  start_mount "$WORK/source" "$WORK/mount"
  local process=$GATEWAY said
  hold_open "$WORK/mount/file"
  said=$("$SLUICE" umount "$WORK/mount" 2>&1) && fail "sluice umount takes a mount away that is in use"
  [[ $said == *"is in use"*"--lazy"* ]] || fail "sluice umount of a mount in use says: $said"
  echo "still here" >&8
  grep -q "still here" "$WORK/mount/file" || fail "sluice umount of a mount in use: it does not work any more"
  timeout 40 "$SLUICE" umount --lazy "$WORK/mount" || fail "sluice umount --lazy with open files: failed"
  wait_until 20 has_ended "$process" || fail "sluice umount with open files: the gateway stays"
  await_end "$process" || fail "sluice umount with open files: not exit code 0"
  nothing_is_left "sluice umount with open files" "$process"
  let_go
}

# Started by `start`, a command that returns when the mount answers. Such a gateway is not our child.
lives_in_background() {  # COMMAND...
  local process
  "$@" </dev/null || fail "$*: failed"
  is_mounted "$WORK/mount" || fail "$*: not mounted when the command returned"
  equal "$*: the file" "$(head -n 1 "$WORK/mount/file")" content
  process=$(status pid "$WORK/mount")
  echo "$process" >>"$WORK/pids"
  equal "$*: directory of the gateway" "$(readlink "/proc/$process/cwd")" /
  kill -TERM "$process"
  wait_until 20 has_ended "$process" || fail "$*: SIGTERM does not end it"
  wait_until 5 gone || fail "$*: still mounted after SIGTERM"
  nothing_is_left "$*" "$process"
}

by_mount_command() {
  ln -s "$SLUICE" "$WORK/mount.sluice"
  lives_in_background "$WORK/mount.sluice" "$WORK/source" "$WORK/mount" -o rw,_netdev,nofail,cache_size=32M,attr_timeout=2s
  timeout 30 "$WORK/mount.sluice" "$WORK/source" "$WORK/mount" -n -v -o ro,noatime,cache_size=32M,http=127.0.0.1:0
  equal "size of the cache by -o" "$(status cache.size_bytes "$WORK/mount")" $((32 << 20))
  findmnt -n -o OPTIONS "$WORK/mount" | grep -q '^ro,.*noatime' || fail "-o ro,noatime: $(findmnt -n -o OPTIONS "$WORK/mount")"
  equal "type" "$(findmnt -n -o FSTYPE "$WORK/mount")" fuse.sluice
  equal "source" "$(findmnt -n -o SOURCE "$WORK/mount")" "$WORK/source"
  (: >>"$WORK/mount/file") 2>/dev/null && fail "-o ro: a file could be opened for writing"
  "$SLUICE" umount "$WORK/mount"
  is_mounted "$WORK/mount" && fail "mount.sluice, then sluice umount: still mounted"
  if [[ $(realpath -q "$(command -v mount.sluice)") == "$SLUICE" ]]; then
    lives_in_background mount -t sluice "$WORK/source" "$WORK/mount" -o cache_size=32M
  fi
}

without_standard_descriptors() { "$@" <&- >&- 2>&-; }

mkdir "$WORK/source" "$WORK/mount"
echo content >"$WORK/source/file"
ends_by_signal TERM
ends_by_signal INT
ends_by_signal QUIT
ends_by_command "$SLUICE" umount
ends_by_command umount
ends_by_command_with_open_files
lives_in_background "$SLUICE" mount "$WORK/source" "$WORK/mount"
lives_in_background without_standard_descriptors "$SLUICE" mount "$WORK/source" "$WORK/mount"
by_mount_command
