#!/bin/bash
# Work is done in the mount as in any directory: a tree is copied in, a repository cloned, a program configured, built and
# run. Afterwards the backing holds the same bytes.
source "$(dirname "$0")/lib.sh"
need_root
need rsync setfacl git cmake ninja cc

make_repository() {
  mkdir -p "$1"
  cat >"$1/CMakeLists.txt" <<'TEXT'
cmake_minimum_required(VERSION 3.16)
project(hello C)
add_library(greeting STATIC greeting.c)
add_executable(hello hello.c)
target_link_libraries(hello greeting)
TEXT
  echo 'const char* greeting(void) { return "hello from the mount"; }' >"$1/greeting.c"
  printf '#include <stdio.h>\nconst char* greeting(void);\nint main(void) { return puts(greeting()) < 0; }\n' >"$1/hello.c"
  (
    cd "$1"
    git init -q -b main .
    for i in $(seq 1 20); do
      seq 1 $((i * 100)) >"data_$i"
      git add -A
      git -c user.name=e2e -c user.email=e2e@localhost commit -q -m "step $i"
    done
  )
}

own_disk "$WORK/disk" 512M
readonly SOURCE=$WORK/disk/source TREE=$WORK/disk/tree
mkdir "$SOURCE" "$WORK/mount"
run_python "$E2E/lib_tree.py" "$TREE" 1000
make_repository "$WORK/repository"
start_mount --cache-size 64M --dev --suid "$SOURCE" "$WORK/mount"
cd "$WORK/mount"

cp -a "$TREE" tree
git clone -q --no-hardlinks "$WORK/repository" clone
git -C clone fsck --strict --no-progress
equal "changes in a fresh clone" "$(git -C clone status --porcelain)" ""
git -C clone -c user.name=e2e -c user.email=e2e@localhost commit -q --allow-empty -m "in the mount"
cmake -G Ninja -S clone -B build -DCMAKE_BUILD_TYPE=Release >"$WORK/cmake.txt" 2>&1 || fail "cmake: $(tail -n 3 "$WORK/cmake.txt")"
cmake --build build >"$WORK/build.txt" 2>&1 || fail "build: $(tail -n 3 "$WORK/build.txt")"
equal "output of the program" "$(build/hello)" "hello from the mount"
cp -a --reflink=never build/hello copied_hello
mkdir untarred
tar -cf - -C tree sizes links modes | tar -xpf - -C untarred

cd "$WORK"
all_is_written
same_tree "$TREE" "$WORK/mount/tree"
same_tree "$SOURCE" "$WORK/mount"
stop_gateway
same_tree "$TREE" "$SOURCE/tree"
for part in sizes links modes; do same_tree "$TREE/$part" "$SOURCE/untarred/$part"; done
same_bytes "$SOURCE/build/hello" "$SOURCE/copied_hello"
equal "output of the program, from the backing" "$("$SOURCE/build/hello")" "hello from the mount"
git -C "$SOURCE/clone" fsck --strict --no-progress
