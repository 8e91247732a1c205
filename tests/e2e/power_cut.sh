#!/bin/bash
# The power of the disk is cut while databases, logs and many other programs write through the mount, again and again at
# random moments, also while they recover from the cut before: whatever fsync, O_SYNC, msync or a commit promised is there,
# and nothing else but what was being written. On each file system of this machine that can be shut down.
#
#   E2E_SECONDS=2000 CUTS=500 CUT_SEED=1 FILE_SYSTEMS=xfs WRITE_MODE=back GATEWAY_OPTIONS='--dirty-max 1M' bash power_cut.sh
#
# TALLY=1 says how much was promised, WORKLOADS="wal names" takes only these, WRITE_MODE=none leaves out Sluice: what the
# file system keeps by itself. KEEP=DIRECTORY gets the disk and the diaries of a broken promise.
source "$(dirname "$0")/lib.sh"
source "$(dirname "$0")/lib_nfs.sh"
source "$(dirname "$0")/lib_power_cut.sh"
need_root

: "${CUTS:=6}" "${FILE_SYSTEMS:=ext4 xfs}"

cut_power() {  # SEED
  if [[ $WRITE_MODE == none ]]; then
    mount --bind "$BACKING" "$WORK/mount"
    power_cut cut "$WORK/mount" "$STATE" "$1" 0 "$BACKING" || broken "$1"
    umount "$WORK/mount"
  else
    start_mount "${OPTIONS[@]}" "$BACKING" "$WORK/mount"
    cut_gateway "$1" "$BACKING"
  fi
}

try_file_system() {  # ext4|xfs
  make_disk "$1"
  power_cut prepare "$BACKING" "$STATE"
  for ((number = 1; number <= CUTS; number++)); do
    cut_power "$CUT_SEED/$1/$number"
    remount_disk
    power_cut check "$STATE" "$BACKING" || broken "$CUT_SEED/$1/$number"
  done
  unmount_disk
  check_disk "$1" "$IMAGE" || broken "$CUT_SEED/$1"
  tally "$1, $CUTS cuts"
  rm -r "$STATE" "$IMAGE"
}

have_disks
self_test
tried=
for type in $FILE_SYSTEMS; do
  can_make "$type" || continue
  try_file_system "$type"
  tried=1
done
[[ $tried ]] || skip "none of $FILE_SYSTEMS can be made here"
umount "$WORK/images"
