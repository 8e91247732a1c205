#!/bin/bash
# The gateway is killed while databases, logs and many other programs write through the mount, again and again at random
# moments, also while they recover from the time before: a new mount shows whatever fsync, O_SYNC, msync or a commit promised,
# where it writes through also what write() took, and nothing else but what was being written. So does the backing.
#
#   E2E_SECONDS=2000 KILLS=200 CUT_SEED=1 WRITE_MODE=back GATEWAY_OPTIONS='--dirty-max 1M' TALLY=1 bash power_cut_kill.sh
source "$(dirname "$0")/lib.sh"
source "$(dirname "$0")/lib_nfs.sh"
source "$(dirname "$0")/lib_power_cut.sh"

: "${KILLS:=8}"

if [[ $WRITE_MODE == through ]]; then promised=(written); else promised=(); fi
rmdir "$BACKING"
own_disk "$BACKING" 512M
mkdir "$STATE" "$BACKING/files"
power_cut prepare "$BACKING/files" "$STATE"
start_mount "${OPTIONS[@]}" "$BACKING/files" "$WORK/mount"
for ((number = 1; number <= KILLS; number++)); do
  cut_gateway "$CUT_SEED/$number"
  start_mount "${OPTIONS[@]}" "$BACKING/files" "$WORK/mount"
  power_cut check "$STATE" "${promised[@]}" "$WORK/mount" "$BACKING/files" || broken "$CUT_SEED/$number"
done
stop_gateway
tally "$KILLS kills"
