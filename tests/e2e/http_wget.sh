#!/bin/bash
# wget: resumes, asks by date, and fetches a tree by its pages, names that need escapes included.
source "$(dirname "$0")/lib.sh"
need wget

mkdir -p "$WORK/source/tree/a b/deep" "$WORK/got"
run_python "$E2E/lib_pattern.py" make "$WORK/source/file" 9000000 3
echo one >"$WORK/source/tree/one"
echo two >"$WORK/source/tree/a b/50% & more.txt"
echo three >"$WORK/source/tree/a b/deep/three#?"
touch -d 2020-01-01 "$WORK/source/tree/one" "$WORK/source/file"
chmod -R a+rX "$WORK/source"
start_serve "$WORK/source"
cd "$WORK/got"

head -c 1000000 "$WORK/source/file" >file
wget -q -c "$HTTP/file"
same_bytes file "$WORK/source/file"
wget -c "$HTTP/file" >"$WORK/said" 2>&1
grep -q "already fully retrieved" "$WORK/said" || fail "wget -c does not see that the file is complete"
equal "date of the file" "$(stat -c %Y file)" "$(stat -c %Y "$WORK/source/file")"
wget -N "$HTTP/file" >"$WORK/said" 2>&1
grep -q "304 Not Modified" "$WORK/said" || fail "wget -N does not see that the file is unchanged"

wget -q -r -np -nH -l inf -R 'index.html*' --restrict-file-names=nocontrol "$HTTP/tree/"
same_tree_content() { diff -r "$WORK/source/tree" "$WORK/got/tree"; }
empty "differences of the trees" "$(same_tree_content 2>&1)"
stop_gateway
