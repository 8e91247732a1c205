#!/bin/bash
# The same work on every file system that can be had: ext4, xfs, btrfs, tmpfs (four with file handles), and one
# behind FUSE, which has none. What the mount shows is what the backing has, and the backing has what was done.
source "$(dirname "$0")/lib.sh"
need_root
need rsync fincore

workload() {  # runs in the directory that it gets
  run_python - "$1" <<'PYTHON'
import errno, os, random, sys

os.chdir(sys.argv[1])
random.seed(7)
os.makedirs("tree/below/deeper")
for i in range(300):
    with open(f"tree/below/file{i}", "wb") as file:
        file.write(random.randbytes(random.choice((0, 1, 4095, 4096, 70001))))
for i in range(0, 300, 3):
    os.rename(f"tree/below/file{i}", f"tree/below/deeper/moved{i}")
for i in range(1, 300, 3):
    os.unlink(f"tree/below/file{i}")
os.link("tree/below/file2", "tree/hard")
os.symlink("below/file2", "tree/soft")
os.setxattr("tree/hard", "user.note", b"kept")

content = bytearray()
with open("tree/random", "w+b", buffering=0) as file:
    for _ in range(400):
        offset, length = random.randrange(400000), random.randrange(1, 30000)
        match random.randrange(6):
            case 0 | 1 | 2:
                piece = random.randbytes(length)
                content.extend(bytes(max(0, offset - len(content))))
                content[offset:offset + length] = piece
                os.pwrite(file.fileno(), piece, offset)
            case 3:
                content[offset:] = bytes(max(0, offset - len(content)))
                os.ftruncate(file.fileno(), offset)
            case 4:
                try:
                    os.posix_fallocate(file.fileno(), offset, length)
                    content.extend(bytes(max(0, offset + length - len(content))))
                except OSError as error:
                    assert error.errno == errno.EOPNOTSUPP, error
            case 5:
                if offset > len(content):
                    continue
                to = random.randrange(400000, 500000)
                copied = os.copy_file_range(file.fileno(), file.fileno(), min(length, to - offset), offset, to)
                piece = content[offset:offset + copied]
                if copied:
                    content.extend(bytes(max(0, to - len(content))))
                    content[to:to + copied] = piece
        assert os.fstat(file.fileno()).st_size == len(content)
        assert os.pread(file.fileno(), length, offset) == content[offset:offset + length]
    os.fsync(file.fileno())
    assert os.pread(file.fileno(), 1 << 20, 0) == content

with open("tree/gone", "w+b", buffering=0) as file:  # works on without its name
    file.write(b"before")
    os.unlink("tree/gone")
    file.write(b" after")
    assert os.pread(file.fileno(), 20, 0) == b"before after"
os.truncate("tree/soft", 10)
with open("tree/sparse", "w+b", buffering=0) as file:
    try:
        os.pwrite(file.fileno(), b"far", 1 << 40)
    except OSError as error:
        assert error.errno == errno.EFBIG, error
    else:
        assert os.pread(file.fileno(), 10, (1 << 40) - 1) == b"\0far"
        os.truncate("tree/sparse", 100)
PYTHON
}

works_on() {  # WHAT SOURCE [OPTION...]
  start_mount --cache-size 16M "${@:3}" "$2" "$WORK/mount"
  workload "$WORK/mount" || fail "$1: the work went wrong"
  same_tree "$WORK/mount/tree" "$2/tree"
  equal "$1: errors of the disk" "$(status disk.errors)" 0
  rm -r "$WORK/mount/tree"
  empty "$1: left on the backing" "$(find "$2" -mindepth 1 ! -name lost+found)"
  stop_gateway
}

# A file that was just written, as told by a clock that is not ours, cannot be trusted yet; replies that overlap do each other
# no harm.
young_files_can_be_got() {  # SOURCE
  local client clients=()
  start_serve --cache-size 16M "$1"
  head -c 8M /dev/urandom >"$1/young"
  for _ in 1 2 3 4 5 6; do
    background get_often "$1/young"
    clients+=("$JOB")
  done
  for client in "${clients[@]}"; do wait "$client" || fail "young files: a client did not get the bytes of the file"; done
  equal "young files: replies broken off" "$(status http.broken_off)" 0
  stop_gateway
  rm "$1/young"
}
get_often() {  # FILE
  for _ in 1 2 3 4 5; do curl -sS "$HTTP/young" | cmp - "$1" || return 1; done
}

on_image() {  # TYPE MKFS-ARGUMENT...
  if ! command -v "mkfs.$1" >/dev/null; then
    say "without $1: mkfs.$1 is not installed"
    return
  fi
  mkdir "$WORK/$1"
  truncate -s 512M "$WORK/$1.image"
  "mkfs.$1" "${@:2}" "$WORK/$1.image" >/dev/null 2>&1 || fail "mkfs.$1"
  if ! mount -o loop "$WORK/$1.image" "$WORK/$1" 2>/dev/null; then
    say "without $1: it cannot be mounted here"
    return
  fi
  works_on "$1" "$WORK/$1"
  if [[ $1 == btrfs ]]; then
    leaves_nothing_compressed "$WORK/$1"
    tells_subvolumes_apart "$WORK/$1" "$WORK/$1.image"
  fi
  umount "$WORK/$1"
}

# Btrfs reads compressed and very small files through the page cache, O_DIRECT or not.
leaves_nothing_compressed() {  # SOURCE
  mount -o remount,compress-force "$1"
  head -c 20M <(yes "a line that is compressed well") >"$1/compressed"
  echo in the tree >"$1/inline"
  forget_pages "$1/compressed" "$1/inline"
  start_mount --cache-size 16M "$1" "$WORK/mount"
  cmp "$WORK/mount/compressed" <(head -c 20M <(yes "a line that is compressed well")) || fail "compressed: wrong bytes"
  dd if="$WORK/mount/compressed" of=/dev/null bs=5000 skip=1000 count=3 status=none
  equal "inline" "$(cat "$WORK/mount/inline")" "in the tree"
  equal "pages of compressed files in the page cache" "$(resident_pages "$1/compressed" "$1/inline")" 0
  stop_gateway
}

# Each subvolume numbers its files from 256 on. Files with the same number would be links of one file to those who copy.
tells_subvolumes_apart() {  # SOURCE IMAGE
  local name before after
  for name in a b; do
    btrfs subvolume create "$1/$name" >/dev/null || fail "btrfs subvolume create"
    mkdir "$1/$name/folder"
    echo "the file of $name" >"$1/$name/folder/file"
    ln "$1/$name/folder/file" "$1/$name/link"
  done
  start_mount --cache-size 16M "$1" "$WORK/mount"
  before=$(numbers_in "$WORK/mount")
  equal "numbers that several directories have" "$(find "$WORK/mount" -type d -printf '%i\n' | sort | uniq -d)" ""
  equal "complaints of find" "$(find "$WORK/mount" 2>&1 >/dev/null)" ""
  cp -a "$WORK/mount/." "$WORK/copy" || fail "cp -a does not copy subvolumes"
  diff -r "$1" "$WORK/copy" || fail "cp -a took files of subvolumes for one another"
  equal "links of a file" "$(stat -c %h "$WORK/copy/b/link")" 2
  (cd "$WORK/mount/a/folder" && equal "number in the listing" "$(find . -name file -printf '%i ')$(ls -i)" \
    "$(stat -c '%i %i %n' file)")
  stop_gateway
  umount "$1"
  mount -o loop "$2" "$1"
  start_mount --cache-size 16M "$1" "$WORK/mount"
  after=$(numbers_in "$WORK/mount")
  equal "numbers after the file system was mounted anew" "$after" "$before"
  stop_gateway
}
numbers_in() { (cd "$1" && find a b -printf '%p %i\n' | sort); }  # PATH

mkdir "$WORK/mount" "$WORK/tmpfs" "$WORK/place" "$WORK/behind" "$WORK/fuse"
on_image ext4 -q
on_image xfs -q
on_image btrfs -q
mount -t tmpfs -o size=64M none "$WORK/tmpfs"
works_on tmpfs "$WORK/tmpfs"
umount "$WORK/tmpfs"

# The gateway itself is the FUSE file system at hand: one on top of another.
start_mount --cache-size 16M "$WORK/behind" "$WORK/fuse"
below=$GATEWAY
works_on FUSE "$WORK/fuse"
young_files_can_be_got "$WORK/fuse"
end_gateway "$below" || fail "the gateway below did not end well"
