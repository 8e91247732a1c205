#!/bin/bash
# curl: a download that is resumed, ranges side by side, several ranges at once, 416 for what is complete, and a resume that
# begins anew because the file changed.
source "$(dirname "$0")/lib.sh"

readonly kSize=$(((24 << 20) + 12345)) kPart=$((4 << 20))

get() { curl -sS "$@"; }

mkdir "$WORK/source"
run_python "$E2E/lib_pattern.py" make "$WORK/source/file" "$kSize" 3
chmod -R a+rX "$WORK/source"
start_serve --cache-size 32M "$WORK/source"

head -c 5000000 "$WORK/source/file" >"$WORK/got"
get -C - -o "$WORK/got" "$HTTP/file"
same_bytes "$WORK/got" "$WORK/source/file"
equal "status for a file that is complete" "$(http_code -r "$kSize"- "$HTTP/file")" 416
equal "what is said then" "$(http_header Content-Range -r "$kSize"- "$HTTP/file")" "bytes */$kSize"

parts=()
for ((offset = 0; offset < kSize; offset += kPart)); do
  parts+=(-r "$offset-$((offset + kPart - 1))" -o "$WORK/part.$((offset / kPart + 100))" "$HTTP/file" --next -sS)
done
get -Z --no-progress-meter "${parts[@]:0:${#parts[@]}-2}"
cat "$WORK"/part.* | cmp - "$WORK/source/file" || fail "parts fetched side by side are not the file"

get -D "$WORK/head" -r 0-9,-10,1000000-1000009 -o "$WORK/multi" "$HTTP/file"
run_python - "$WORK/head" "$WORK/multi" "$WORK/source/file" <<'PYTHON'
import email.parser, email.policy, sys
head, body, whole = (open(path, "rb").read() for path in sys.argv[1:])
fields = head.split(b"\r\n", 1)[1]
message = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(fields + body)
assert message.get_content_type() == "multipart/byteranges", message.get_content_type()
assert int(message["Content-Length"]) == len(body)
wanted = [(0, 9), (len(whole) - 10, len(whole) - 1), (1000000, 1000009)]
ranges = [part["Content-Range"] for part in message.iter_parts()]
assert ranges == [f"bytes {first}-{last}/{len(whole)}" for first, last in wanted], ranges
for first, last in wanted:  # the parser decodes bytes, so look in the body itself
    assert b"\r\n\r\n" + whole[first:last + 1] + b"\r\n--" in body, first
PYTHON

tag=$(http_header ETag "$HTTP/file")
equal "resume with the right ETag" "$(http_code -r 10- -H "If-Range: $tag" "$HTTP/file")" 206
sleep_until_trusted() { [[ $(http_header ETag "$HTTP/file") == \"* ]]; }
printf 'changed' | dd of="$WORK/source/file" conv=notrunc status=none
wait_until 10 sleep_until_trusted || fail "the changed file gets no strong ETag"
different "ETags before and after the change" "$tag" "$(http_header ETag "$HTTP/file")"
equal "resume with the ETag of before" "$(http_code -r 10- -H "If-Range: $tag" "$HTTP/file")" 200
equal "what must match and does not" "$(http_code -H "If-Match: $tag" "$HTTP/file")" 412
get -o "$WORK/again" "$HTTP/file"
same_bytes "$WORK/again" "$WORK/source/file"
stop_gateway
