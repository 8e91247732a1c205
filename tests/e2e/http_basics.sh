#!/bin/bash
# HTTP as clients expect it: GET, HEAD, one range, conditions, refusals, names, connections that are kept, links that lead
# out, files that nobody may read, files of more than 4 GiB.
source "$(dirname "$0")/lib.sh"
need_root

get() { curl -sS "$@"; }
code() { equal "status of ${*:2}" "$(http_code "${@:2}")" "$1"; }        # STATUS CURL-ARGUMENT...
header() { equal "$1 of ${*:3}" "$(http_header "$1" "${@:3}")" "$2"; }   # NAME VALUE CURL-ARGUMENT...

make_source() {
  run_python - "$1" <<'PYTHON'
import os, sys
os.chdir(sys.argv[1])
def write(name, data):
    os.makedirs(os.path.dirname(name) or b".", exist_ok=True)
    with open(name, "wb") as file:
        file.write(data)
write(b"letters", b"abcdefghijklmnopqrstuvwxyz")
write(b"empty", b"")
write(b"directory/page.html", b"<p>inside")
write(b"odd/a b%c?d#e+\xc3\xbc.txt", b"odd")
write(b"odd/\xff\n", b"odder")
write(b"secret", b"for root")
os.chmod("secret", 0o600)
write(b"closed/file", b"for root")
os.chmod("closed", 0o700)
os.mkfifo("fifo")
os.symlink("letters", "link_inside")
os.symlink("../letters", "directory/link_up")
os.symlink("/etc/hostname", "link_outside")
os.symlink("../outside", "link_above")
os.symlink("..", "directory/parent")
os.symlink("nowhere", "dangling")
with open("huge", "wb") as file:
    file.truncate(5 << 30)
    file.seek((5 << 30) - 10)
    file.write(b"the end...")
PYTHON
}

check_whole_files() {
  equal "body" "$(get "$HTTP/letters")" abcdefghijklmnopqrstuvwxyz
  header Content-Length 26 "$HTTP/letters"
  header Accept-Ranges bytes "$HTTP/letters"
  header Content-Length 26 -I "$HTTP/letters"
  header Last-Modified "$(date -u -r "$WORK/source/letters" '+%a, %d %b %Y %H:%M:%S GMT')" "$HTTP/letters"
  header Content-Length 0 "$HTTP/empty"
  code 200 "$HTTP/empty"
  code 200 -I "$HTTP/letters"
  equal "body of HEAD" "$(get -I -o "$WORK/head" -w '%{size_download}' "$HTTP/letters")" 0
  equal "Content-Type" "$(http_header Content-Type "$HTTP/directory/page.html" | cut -d ';' -f 1)" text/html
}

check_ranges() {
  local range
  for range in 0-0:a 0-25:abcdefghijklmnopqrstuvwxyz 3-5:def 20-:uvwxyz -4:wxyz -100:abcdefghijklmnopqrstuvwxyz 24-1000:yz; do
    equal "range ${range%:*}" "$(get -r "${range%:*}" "$HTTP/letters")" "${range#*:}"
    code 206 -r "${range%:*}" "$HTTP/letters"
  done
  header Content-Range "bytes 3-5/26" -r 3-5 "$HTTP/letters"
  header Content-Length 3 -r 3-5 "$HTTP/letters"
  for range in 26-30 26- 1000- -0; do code 416 -r "$range" "$HTTP/letters"; done
  header Content-Range "bytes */26" -r 26- "$HTTP/letters"
  code 200 -r 0-0 "$HTTP/empty"
  code 200 -H 'Range: lines=1-2' "$HTTP/letters"
  code 200 -H 'Range: bytes=5-2' "$HTTP/letters"
}

check_conditions() {
  local tag changed
  tag=$(http_header ETag "$HTTP/letters")
  changed=$(http_header Last-Modified "$HTTP/letters")
  [[ $tag == \"*\" || $tag == W/\"*\" ]] || fail "ETag is not quoted: $tag"
  code 304 -H "If-None-Match: $tag" "$HTTP/letters"
  code 304 -H "If-None-Match: \"other\", $tag" "$HTTP/letters"
  code 304 -H 'If-None-Match: *' "$HTTP/letters"
  code 200 -H 'If-None-Match: "other"' "$HTTP/letters"
  header ETag "$tag" -H "If-None-Match: $tag" "$HTTP/letters"
  code 304 -I -H "If-None-Match: $tag" "$HTTP/letters"
  touch -d '2020-01-01' "$WORK/source/empty"
  let_settle "$WORK/source/empty"
  code 304 -H "If-Modified-Since: $(http_header Last-Modified "$HTTP/empty")" "$HTTP/empty"
  code 200 -H "If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT" "$HTTP/empty"
  different "ETags of two files" "$tag" "$(http_header ETag "$HTTP/empty")"
  [[ -n $changed ]] || fail "no Last-Modified"
}

check_refusals() {
  code 404 "$HTTP/nothing"
  code 404 "$HTTP/nothing/below"
  code 404 "$HTTP/letters/below"
  code 404 "$HTTP/letters/"
  code 404 "$HTTP/dangling"
  code 404 "$HTTP/$(printf 'n%.0s' {1..256})"
  code 405 -X POST -d x "$HTTP/letters"
  code 405 -X PUT -d x "$HTTP/letters"
  code 405 -X DELETE "$HTTP/letters"
  header Allow "GET, HEAD, OPTIONS" -X DELETE "$HTTP/letters"
  code 204 -X OPTIONS "$HTTP/letters"
  code 204 -X OPTIONS --request-target '*' "$HTTP"
  header Allow "GET, HEAD, OPTIONS" -X OPTIONS "$HTTP/letters"
  code 200 "$HTTP/"
  code 301 "$HTTP/directory"
  header Location /directory/ "$HTTP/directory"
  code 200 "$HTTP/directory/"
  code 403 "$HTTP/closed/"
  code 403 "$HTTP/fifo"
  code 403 "$HTTP/secret"
  code 403 "$HTTP/closed/file"
}

check_escapes() {
  code 200 "$HTTP/link_inside"
  code 200 "$HTTP/directory/link_up"
  code 200 "$HTTP/directory/parent/letters"
  code 403 "$HTTP/link_outside"
  code 403 "$HTTP/link_above"
  code 400 --path-as-is "$HTTP/../outside"
  code 400 --path-as-is "$HTTP/directory/../../outside"
  code 400 --path-as-is "$HTTP/%2e%2e/outside"
  code 400 "$HTTP/letters%00"
  code 200 --path-as-is "$HTTP/directory/../letters"
}

check_names() {
  equal "odd name" "$(get "$HTTP/odd/a%20b%25c%3Fd%23e+%C3%BC.txt")" odd
  equal "odder name" "$(get "$HTTP/odd/%ff%0A")" odder
  equal "a query is no part of the name" "$(get "$HTTP/letters?version=2")" abcdefghijklmnopqrstuvwxyz
  equal "doubled slashes" "$(get --path-as-is "$HTTP//directory//./page.html")" "<p>inside"
}

check_connections() {
  local before count
  before=$(status http.connections_accepted)
  count=$(get -o /dev/null -o /dev/null -o /dev/null -o /dev/null -w '%{num_connects}\n' \
    "$HTTP/letters" "$HTTP/nothing" "$HTTP/empty" "$HTTP/letters" | awk '{ sum += $1 } END { print sum }')
  equal "connections for 4 requests, by curl" "$count" 1
  equal "connections for 4 requests, by us" "$(($(status http.connections_accepted) - before))" 1
  header Connection close -H 'Connection: close' "$HTTP/letters"
  equal "HTTP/1.0" "$(get -0 "$HTTP/letters")" abcdefghijklmnopqrstuvwxyz
}

check_huge() {
  header Content-Length $((5 << 30)) -I "$HTTP/huge"
  equal "end of a file of 5 GiB" "$(get -r -10 "$HTTP/huge")" "the end..."
  equal "end by offset" "$(get -r $(((5 << 30) - 3))- "$HTTP/huge")" "..."
  header Content-Range "bytes 5368709110-5368709119/5368709120" -r 5368709110- "$HTTP/huge"
  equal "hole beyond 4 GiB" "$(get -r $((1 << 32))-$(((1 << 32) + 99999)) "$HTTP/huge" | tr -d '\0' | wc -c)" 0
}

mkdir "$WORK/source"
echo outside >"$WORK/outside"
make_source "$WORK/source"
let_settle "$WORK/source"
start_serve --cache-size 32M "$WORK/source"
check_whole_files
check_ranges
check_conditions
check_refusals
check_escapes
check_names
check_connections
check_huge
equal "failures of the server" "$(status http.responses_5xx)" 0
stop_gateway
start_serve --http-allow 192.0.2.0/24,2001:db8::/32 "$WORK/source"
code 403 "$HTTP/letters"
equal "connections that were denied" "$(status http.connections_denied)" 1
stop_gateway
start_serve --http-allow 192.0.2.0/24,127.0.0.0/8 --http-prefix '/pre fix/%' --http-cache-control 'max-age=60' "$WORK/source"
shown=$HTTP/pre%20fix/%25/
wait_until 5 grep -q " is exported at $shown\$" "${LOG_OF[$GATEWAY]}" || fail "no URL in: $(cat "${LOG_OF[$GATEWAY]}")"
code 200 "${shown}letters"
code 404 "$HTTP/letters"
header Cache-Control max-age=60 "${shown}letters"
header Location /pre%20fix/%25/directory/ "${shown}directory"
stop_gateway
