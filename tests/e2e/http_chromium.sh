#!/bin/bash
# A browser shows the page of a directory: what stands in it, the way up, the order asked for, and no script from a name.
source "$(dirname "$0")/lib.sh"
BROWSER=$(command -v chromium || command -v chromium-browser || command -v google-chrome) ||
  skip "chromium is not installed"

mkdir -p "$WORK/source/dir/sub" "$WORK/profile"
echo x >"$WORK/source/dir/a & b.txt"
head -c 5000 /dev/zero >"$WORK/source/dir/large"
: >"$WORK/source/dir/<img src=x onerror=document.title='pwned'>"
chmod -R a+rX "$WORK/source"
start_serve "$WORK/source"
show() {  # URL
  HOME=$WORK/profile timeout 60 "$BROWSER" --headless --no-sandbox --disable-gpu --disable-dev-shm-usage \
    --no-first-run --user-data-dir="$WORK/profile" --window-size=360,640 --dump-dom "$1" 2>"$WORK/browser.log"
}
show "$HTTP/dir" >"$WORK/dom" || skip "chromium does not run here: $(tail -n 1 "$WORK/browser.log")"
grep -q '<title>Index of /dir/</title>' "$WORK/dom" || fail "no title, or a name changed it: $(head -c 300 "$WORK/dom")"
grep -q '<a href="a%20%26%20b.txt">a &amp; b.txt</a>' "$WORK/dom" || fail "a name is not shown"
grep -q '<td>4.9 KiB</td>' "$WORK/dom" || fail "no size"
grep -q '<a href="../">/</a>' "$WORK/dom" || fail "no way up"
empty "elements that a name made" "$(grep -i '<img' "$WORK/dom")"
show "$HTTP/dir/?sort=size&order=desc" >"$WORK/dom"
equal "the first file by size" "$(grep -o 'href="[^"/?.][^"]*"' "$WORK/dom" | sed -n 2p)" 'href="large"'
stop_gateway
