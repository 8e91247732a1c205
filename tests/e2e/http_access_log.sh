#!/bin/bash
# The access log: a line for each answer in the combined format, hostile bytes escaped, a new file after SIGHUP, which ends
# a gateway without such a log as before.
source "$(dirname "$0")/lib.sh"

readonly kCombined='^127\.0\.0\.1 - - \[[0-9]{2}/[A-Z][a-z]{2}/[0-9]{4}:[0-9:]{8} \+0000\] "[ -~]*" [0-9]{3} [0-9]+ "[ -~]*" "[ -~]*"$'

lines() { wc -l <"$1"; }
has_lines() { [[ -e $1 ]] && (($(lines "$1") >= $2)); }  # FILE COUNT

mkdir "$WORK/source"
echo content >"$WORK/source/file"
chmod 755 "$WORK/source"
cd "$WORK"
start_serve --access-log access.log "$WORK/source"  # a relative name
http_code "$HTTP/file" >/dev/null
http_code -A $'evil "agent" \\ \xff' -e 'http://from/' "$HTTP/none?\"" >/dev/null
http_code -r 1-2 "$HTTP/file" >/dev/null
wait_until 5 has_lines access.log 3 || fail "no lines in the access log"
empty "lines that are not of the combined format" "$(grep -vE "$kCombined" access.log)"
grep -qF '"GET /file HTTP/1.1" 200 8 "-" "curl/' access.log || fail "no line of a plain GET: $(cat access.log)"
grep -qF ' 404 14 "http://from/" "evil \x22agent\x22 \x5C \xFF"' access.log || fail "not escaped: $(cat access.log)"
grep -qF '"GET /file HTTP/1.1" 206 2 ' access.log || fail "no line of a range: $(cat access.log)"

mv access.log access.log.1
kill -HUP "$GATEWAY"
wait_until 5 test -e access.log || fail "SIGHUP does not open a new file"
http_code "$HTTP/file" >/dev/null
wait_until 5 has_lines access.log 1 || fail "no lines in the new file"
equal "lines of the old file" "$(lines access.log.1)" 3
wait_until 5 eval '(($(status http.access_log_lines) == 4))' || fail "the status does not count the lines"
equal "lines that were dropped" "$(status http.access_log_dropped)" 0

if [[ -c /dev/full ]]; then  # a full disk costs lines and nothing else
  mv access.log access.log.2
  ln -s /dev/full access.log
  kill -HUP "$GATEWAY"
  wait_until 5 eval 'equal "status" "$(http_code "$HTTP/file")" 200; (($(status http.access_log_dropped) > 0))' ||
    fail "lines to a full disk are not counted"
fi
stop_gateway

start_serve "$WORK/source"
kill -HUP "$GATEWAY"
wait_until 10 has_ended "$GATEWAY" || fail "SIGHUP does not end a gateway without an access log"
await_end "$GATEWAY"
start_serve --access-log - "$WORK/source"
http_code "$HTTP/file" >/dev/null
wait_until 5 grep -q '"GET /file HTTP/1.1" 200' "${LOG_OF[$GATEWAY]}" || fail "no line on the standard output"
stop_gateway

# Who is turned away has a line too, of a request that nobody read.
start_serve --http-allow 192.0.2.1 --access-log "$WORK/denied.log" "$WORK/source"
equal "status of a client that is not allowed" "$(http_code "$HTTP/file")" 403
wait_until 5 has_lines "$WORK/denied.log" 1 || fail "no line of a client that is not allowed"
empty "lines that are not of the combined format" "$(grep -vE "$kCombined" "$WORK/denied.log")"
grep -qF '] "-" 403 14 "-" "-"' "$WORK/denied.log" || fail "of a client that is not allowed: $(cat "$WORK/denied.log")"
stop_gateway
refuses 1 'access-log' serve --http 127.0.0.1:0 --access-log "$WORK/none/log" "$WORK/source"
