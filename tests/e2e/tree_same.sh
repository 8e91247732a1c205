#!/bin/bash
# A tree of everything that a copy could lose (links of all kinds, modes, owners, attributes, access lists, odd names,
# devices, sparse and thousands of small files) is the same through the mount: content, metadata and inode numbers. With
# 1024 descriptors and a cache smaller than is comfortable.
source "$(dirname "$0")/lib.sh"
need_root
need rsync setfacl

inode_numbers() { (cd "$1" && find . -mindepth 1 -printf '%i %n %y %P\0' | sort -z | sha256sum); }
# What readdir says, without a stat.
listed_numbers() { (cd "$1" && find . -mindepth 1 -type d -print0 | sort -z | xargs -0 ls -fi1 | sort | sha256sum); }

own_disk "$WORK/disk" 256M
readonly SOURCE=$WORK/disk/source
run_python "$E2E/lib_tree.py" "$SOURCE" 3000
mkdir "$WORK/mount"
DAEMON_PREFIX=(prlimit --nofile=1024:1024)
start_mount --cache-size 64M "$SOURCE" "$WORK/mount"

same_tree "$SOURCE" "$WORK/mount"
equal "inode numbers by stat" "$(inode_numbers "$WORK/mount")" "$(inode_numbers "$SOURCE")"
equal "number of the root" "$(stat -c %i "$WORK/mount")" "$(stat -c %i "$SOURCE")"
equal "inode numbers by readdir" "$(listed_numbers "$WORK/mount")" "$(listed_numbers "$SOURCE")"
equal "sparse file's blocks" "$(stat -c %b "$WORK/mount/sizes/sparse")" "$(stat -c %b "$SOURCE/sizes/sparse")"
equal "size of the file system" "$(stat -f -c '%b %S' "$WORK/mount")" "$(stat -f -c '%b %S' "$SOURCE")"
equal "errors of the disk" "$(status disk.errors)" 0
stop_gateway
