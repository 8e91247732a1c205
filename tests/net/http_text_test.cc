#include "net/http/text.h"

#include "net/http/accept.h"
#include "tests/support/catch.h"

namespace sluice {
namespace {

TEST_CASE("http text: names in URLs are letters, digits and escapes", "[net][http]") {
  const auto encoded = [](std::string_view bytes, bool keep_slashes = false) {
    std::string text;
    append_percent_encoded(bytes, keep_slashes, text);
    return text;
  };
  CHECK(encoded("az09AZ-._~") == "az09AZ-._~");
  CHECK(encoded("a b") == "a%20b");
  CHECK(encoded("a/b", true) == "a/b");
  CHECK(encoded("a/b") == "a%2Fb");
  CHECK(encoded("javascript:x") == "javascript%3Ax");  // else a link with a colon has a scheme
  CHECK(encoded("?#%\"'<>&\xff\n") == "%3F%23%25%22%27%3C%3E%26%FF%0A");
}

TEST_CASE("http text: names in HTML are no markup and no broken UTF-8", "[net][http]") {
  const auto html = [](std::string_view bytes) {
    std::string text;
    append_html(bytes, text);
    return text;
  };
  CHECK(html("<b>&\"'") == "&lt;b&gt;&amp;&quot;&#39;");
  CHECK(html("z\xc3\xbc\xe2\x82\xac\xf0\x9f\x98\x80") == "z\xc3\xbc\xe2\x82\xac\xf0\x9f\x98\x80");
  const std::string bad = "\xef\xbf\xbd";
  CHECK(html("\x01\n\x7f") == bad + bad + bad);
  // Cut off, overlong, surrogate, too high, a tail alone
  CHECK(html("\xc3") == bad);
  CHECK(html("a\xe2\x82") == "a" + bad + bad);
  CHECK(html("\xc0\xaf") == bad + bad);
  CHECK(html("\xe0\x80\xaf") == bad + bad + bad);
  CHECK(html("\xed\xa0\x80") == bad + bad + bad);
  CHECK(html("\xf4\x90\x80\x80") == bad + bad + bad + bad);
  CHECK(html("\x80x") == bad + "x");
  CHECK(html("\xc3<") == bad + "&lt;");
}

TEST_CASE("http text: JSON strings escape what they must", "[net][http]") {
  std::string text;
  append_json_string("a\"\\/\n\x1f\x7f\xff\xc3\xbc", text);
  CHECK(text == "\"a\\\"\\\\/\\u000A\\u001F\\u007F\xef\xbf\xbd\xc3\xbc\"");
}

TEST_CASE("http accept: JSON is for who asks for it by name, and rather than for HTML", "[net][http]") {
  for (const char* accept : {"application/json", "Application/JSON", "text/plain, application/json;q=0.5",
                             "application/json, text/plain, */*", "text/html;q=0.8,application/json;q=0.9",
                             "application/json ; charset=utf-8 ; q=1.000", "text/html;q=0, application/json;q=0.001"}) {
    INFO(accept);
    CHECK(prefers_json(accept));
  }
  for (const char* accept :
       {"", "*/*", "application/*", "text/html", "text/html,application/json", "application/json;q=0",
        "application/json;q=0.1, text/html;q=0.2", "application/json;q=x", "application/json;q=1.5x",
        "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8", "application/jsonx", ",;,q=1"}) {
    INFO(accept);
    CHECK_FALSE(prefers_json(accept));
  }
}

}  // namespace
}  // namespace sluice
