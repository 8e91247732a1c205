#!/bin/bash
# Every write and flush that the disk gets while databases, logs and many other programs write through the mount is logged,
# and the log played again up to random flushes, with any part of the writes after it: in each of these states, in which the
# disk would be after a power cut, is what was promised before. This finds what was never flushed.
#
#   E2E_SECONDS=2000 STATES=2000 CUT_SEED=1 FILE_SYSTEMS=ext4 WRITE_MODE=back TALLY=1 bash power_cut_replay.sh
source "$(dirname "$0")/lib.sh"
source "$(dirname "$0")/lib_nfs.sh"
source "$(dirname "$0")/lib_power_cut.sh"
need qemu-storage-daemon
need_root

: "${STATES:=25}" "${FILE_SYSTEMS:=ext4 xfs}" "${STATES_OF_ONE_LOG:=400}" "${SECONDS_OF_ONE_LOG:=2}"
LOG=$WORK/images/log
EXPORT=$WORK/images/export  # shows $IMAGE, and logs what is written to it

start_logging() {
  : >"$LOG"
  : >"$EXPORT"
  background qemu-storage-daemon --blockdev "driver=file,node-name=disk,filename=$IMAGE" \
    --blockdev "driver=file,node-name=log,filename=$LOG" \
    --blockdev driver=blklogwrites,node-name=logged,file=disk,log=log \
    --export "type=fuse,id=export,node-name=logged,mountpoint=$EXPORT,writable=on" >"$WORK/log.qemu" 2>&1
  wait_until 20 shows_disk || skip "qemu-storage-daemon does not export: $(tail -n 1 "$WORK/log.qemu")"
}
shows_disk() { has_ended "$JOB" || { is_mounted "$EXPORT" && [[ $(stat -c %s "$EXPORT") == "$(stat -c %s "$IMAGE")" ]]; }; }
stop_logging() {
  wait_until 20 is_free "$EXPORT" || fail "somebody holds the disk"
  kill "$JOB"
  wait "$JOB" || fail "qemu-storage-daemon ended with $?"
}
mount_export() {
  local loop
  loop=$(losetup --find --show --direct-io=off "$EXPORT")  # direct I/O to QEMU's export damages the file system
  mount -o nodiscard "$loop" "$BACKING" || { losetup --detach "$loop"; fail "the logged disk cannot be mounted"; }
  losetup --detach "$loop"  # when it is unmounted
  # What ext4 would have the disk zero is written instead: QEMU's log has no place for it.
  [[ ! -e /sys/fs/ext4/${loop##*/}/extent_max_zeroout_kb ]] || echo 0 >"/sys/fs/ext4/${loop##*/}/extent_max_zeroout_kb"
}

record() {  # SEED
  start_logging
  mount_export
  if [[ $WRITE_MODE == none ]]; then
    mount --bind "$BACKING" "$WORK/mount"
  else
    start_mount "${OPTIONS[@]}" "$BACKING" "$WORK/mount"
  fi
  replay record "$WORK/mount" "$STATE" "$1" "$LOG" "$SECONDS_OF_ONE_LOG" || broken "$1"
  if [[ $WRITE_MODE == none ]]; then umount "$WORK/mount"; else stop_gateway; fi
  umount "$BACKING"
  stop_logging
}
replay() { run_python "$E2E/lib_power_cut_replay.py" "$@"; }

try_file_system() {  # ext4|xfs
  local to_do=$STATES seed said
  for ((number = 1; to_do > 0; number++)); do
    seed=$CUT_SEED/$1/$number
    make_disk "$1"
    power_cut prepare "$BACKING" "$STATE"
    unmount_disk
    cp --sparse=always "$IMAGE" "$WORK/images/before"
    record "$seed"
    rm "$IMAGE"
    said=$(replay replay "$WORK/images/before" "$LOG" "$STATE" "$seed" "$((to_do < STATES_OF_ONE_LOG ? to_do : STATES_OF_ONE_LOG))" \
      "$1" "$BACKING") || broken "$seed"
    [[ -z ${TALLY-} ]] || say "seed $seed: $1, $said"
    rm -r "$STATE" "$WORK/images/"*
    to_do=$((to_do - STATES_OF_ONE_LOG))
  done
}

have_disks
tried=
for type in $FILE_SYSTEMS; do
  can_make "$type" || continue
  try_file_system "$type"
  tried=1
done
[[ $tried ]] || skip "none of $FILE_SYSTEMS can be made here"
umount "$WORK/images"
