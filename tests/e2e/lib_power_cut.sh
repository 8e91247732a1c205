# shellcheck shell=bash
# Disks whose power can be cut, and the workloads of lib_power_cut.py on them.
: "${CUT_SEED:=$RANDOM}"
STATE=$WORK/state      # outside the file system that promises
BACKING=$WORK/backing
IMAGE=$WORK/images/disk
OPTIONS=(--cache-size 16M)
mkdir "$WORK/mount" "$BACKING"
if [[ $WRITE_MODE != none ]]; then
  choose_nfs_port
  export NFS_PORT
  OPTIONS+=(--nfs "127.0.0.1:$NFS_PORT" --nfs-squash none)
fi

power_cut() { run_python "$E2E/lib_power_cut.py" "$@"; }

self_test() {
  make_disk ext4
  mkdir "$BACKING/spoiled"
  NFS_PORT="" power_cut self_test "$BACKING/spoiled" || fail "the check does not see all that it must"
  unmount_disk
  rm -r "$STATE" "$IMAGE"
}

# Works in the mount until the random moment when the gateway is killed, and the disk behind it, if one is named, cut off.
cut_gateway() {  # SEED [BACKING]
  local code=0 end=0
  {  # else the shell says that it was killed
    power_cut cut "$WORK/mount" "$STATE" "$1" "$GATEWAY" "${@:2}" 2>"$WORK/said" || code=$?
    await_end "$GATEWAY" || end=$?
  } 2>/dev/null
  ((code == 0)) || broken "$1: $(grep -v Killed "$WORK/said" | tail -n 1)"
  ((end == 128 + $(kill -l KILL))) || broken "$1: the gateway ended by itself, with $end"
  timeout 20 "$SLUICE" umount "$WORK/mount" || fail "sluice umount does not clear up after a kill"
  rm "${LOG_OF[$GATEWAY]}"
}

broken() {  # SEED
  if [[ -n ${KEEP-} ]]; then cp -r --sparse=always "$STATE" "$WORK/images" "$KEEP/"; fi
  fail "WRITE_MODE=$WRITE_MODE, cut $1"
}

tally() {  # WHAT
  local said
  said=$(power_cut tally "$STATE") || fail "$1: nothing was shown"
  [[ -z ${TALLY-} ]] || say "seed $CUT_SEED: $1, $said"
}

# Disks are files in memory: a loop device asks its file's disk for nothing but time.
have_disks() {
  need mkfs.ext4 e2fsck losetup
  mkdir "$WORK/images"
  mount -t tmpfs -o size=3G none "$WORK/images" || skip "no file system in memory can be mounted"
  truncate -s 64M "$WORK/images/probe"
  mkfs.ext4 -q "$WORK/images/probe"
  mount -o loop "$WORK/images/probe" "$BACKING" 2>/dev/null || skip "no loop device can be mounted"
  umount "$BACKING"
  rm "$WORK/images/probe"
}
can_make() { command -v "mkfs.$1" >/dev/null && grep -qw "$1" /proc/filesystems; }

# Without reflinks: XFS writes to a block that is not shared any more, and after a cut that was too early for its log it is
# shared again: a copy shows what was written to its origin, even though the copy was fsynced. Without Sluice, too.
make_image() {  # ext4|xfs FILE
  case $1 in
    ext4) truncate -s 128M "$2" && mkfs.ext4 -q -b 4096 -E lazy_itable_init=0,lazy_journal_init=0 "$2" ;;
    xfs) truncate -s 320M "$2" && mkfs.xfs -q -m reflink=0 "$2" ;;
  esac || fail "no $1 can be made"
}
make_disk() {  # ext4|xfs
  mkdir "$STATE"
  make_image "$1" "$IMAGE"
  mount -o loop,nodiscard "$IMAGE" "$BACKING"
}
# A gateway that was killed may hold the disk for a moment longer, and a mount before would be that of the same dead disk.
unmount_disk() {
  umount "$BACKING"
  wait_until 20 is_free "$IMAGE" || fail "somebody holds the disk"
}
is_free() { [[ -z $(losetup --associated "$1") ]]; }
remount_disk() {
  unmount_disk
  mount -o loop,nodiscard "$IMAGE" "$BACKING" || fail "the disk cannot be mounted after a cut"
}
check_disk() {  # ext4|xfs FILE
  case $1 in
    ext4) e2fsck -fn "$2" >"$WORK/fsck" 2>&1 ;;
    xfs) xfs_repair -n "$2" >"$WORK/fsck" 2>&1 ;;
  esac || { say "$(tail -n 5 "$WORK/fsck")"; return 1; }
}
