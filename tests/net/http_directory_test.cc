// Directories over HTTP: the way to them, their index, their pages.
#include <algorithm>
#include <thread>
#include <vector>

#include "net/http/directory_page.h"
#include "net/http/server.h"
#include "tests/net/fake_store.h"
#include "tests/net/http_client.h"
#include "tests/net/http_sample.h"
#include "tests/support/catch.h"

namespace sluice {
namespace {

FakeStore& tree_store(FakeStore& store) {
  store.add("top", {.size = 1});
  store.add_directory("d");
  store.add("d/a", {.size = 3000});
  store.add("d/b&<c>", {.size = 10, .mtime_ns = 1'700'000'000'000'000'000});
  store.add("d/\xff\n", {.size = 2});
  store.add_directory("d/sub dir");
  store.add_directory("d/sub dir/deep");
  store.add_directory("i");
  store.add("i/index.html", {.size = 5});
  store.add_directory("i/odd");
  return store;
}

// The href values of a page, but those of its heading.
std::vector<std::string> links_of(std::string_view page) {
  std::vector<std::string> links;
  page.remove_prefix(std::min(page.find("<tbody>"), page.size()));
  for (size_t at = page.find("href=\""); at != std::string_view::npos; at = page.find("href=\"", at)) {
    at += 6;
    links.emplace_back(page.substr(at, page.find('"', at) - at));
  }
  return links;
}

using Links = std::vector<std::string>;

TEST_CASE("http directory: without its slash it is a redirect", "[net][http]") {
  FakeStore store;
  tree_store(store);
  auto server = start(&store);
  Client client(server->port());
  const std::pair<const char*, const char*> rows[] = {{"/d", "/d/"},
                                                      {"/d?sort=size", "/d/?sort=size"},
                                                      {"/d/sub%20dir", "/d/sub%20dir/"},
                                                      {"//d//sub%20dir", "/d/sub%20dir/"},
                                                      {"/x/../d", "/d/"},
                                                      {"/d%2f", "/d/"},
                                                      {"/d%2F?sort=size", "/d/?sort=size"},
                                                      {"/d/.", "/d/"},
                                                      {"/d/sub%20dir/..", "/d/"},
                                                      {"/d/sub%20dir%2f%2e%2e", "/d/"},
                                                      {"/i%2f", "/i/"}};
  for (const auto& [target, location] : rows) {
    INFO(target);
    Response response = client.get(target);
    CHECK(response.status == 301);
    CHECK(response.whole);
    CHECK(response.fields["Location"] == location);
  }
  CHECK(client.get("/%2f").status == 200);  // relative to it is relative to the root
  CHECK(client.get("/top%2f").status == 404);
}

TEST_CASE("http directory: its page has everything in it, sorted as asked", "[net][http]") {
  FakeStore store;
  tree_store(store);
  auto server = start(&store);
  Client client(server->port());
  Response response = client.get("/d/");
  CHECK(response.status == 200);
  CHECK(response.whole);
  CHECK(response.fields["Content-Type"] == "text/html; charset=utf-8");
  CHECK(links_of(response.body) == Links{"../", "sub%20dir/", "a", "b%26%3Cc%3E", "%FF%0A"});
  CHECK(response.body.find("b&amp;&lt;c&gt;") != std::string::npos);
  CHECK(response.body.find("<td>2.9 KiB</td><td>2020-09-13 12:26</td>") != std::string::npos);
  CHECK(response.body.find("\xff") == std::string::npos);
  CHECK(response.body.ends_with("</html>\n"));
  const auto links = [&](const std::string& query) {
    Links found = links_of(client.get("/d/?" + query).body);
    found.erase(found.begin());
    return found;
  };
  CHECK(links("sort=name&order=desc") == Links{"sub%20dir/", "%FF%0A", "b%26%3Cc%3E", "a"});
  CHECK(links("sort=size") == Links{"sub%20dir/", "%FF%0A", "b%26%3Cc%3E", "a"});
  CHECK(links("order=desc&sort=size") == Links{"sub%20dir/", "a", "b%26%3Cc%3E", "%FF%0A"});
  CHECK(links("sort=date&order=asc") == Links{"sub%20dir/", "a", "%FF%0A", "b%26%3Cc%3E"});
  CHECK(links("sort=nonsense&order=up&&x=") == Links{"sub%20dir/", "a", "b%26%3Cc%3E", "%FF%0A"});
}

TEST_CASE("http directory: the heading leads up, relative", "[net][http]") {
  FakeStore store;
  tree_store(store);
  auto server = start(&store);
  Client client(server->port());
  const std::string page = client.get("/d/sub%20dir/").body;
  CHECK(page.find("<h1>Index of <a href=\"../../\">/</a><a href=\"../\">d/</a><a href=\"./\">sub dir/</a></h1>") !=
        std::string::npos);
  CHECK(page.find("<title>Index of /d/sub dir/</title>") != std::string::npos);
  CHECK(links_of(page) == Links{"../", "deep/"});
  CHECK(links_of(client.get("/").body) == Links{"d/", "i/", "top"});
}

TEST_CASE("http directory: below a prefix nothing leads out of it", "[net][http]") {
  FakeStore store;
  tree_store(store);
  auto server = start(&store, {.urls = {.prefix = "p q/r/"}});
  Client client(server->port());
  CHECK(client.get("/p%20q/r").fields["Location"] == "/p%20q/r/");
  CHECK(client.get("/p%20q/r%2f").fields["Location"] == "/p%20q/r/");
  CHECK(client.get("/p%20q/r/d?x").fields["Location"] == "/p%20q/r/d/?x");
  CHECK(links_of(client.get("/p%20q/r/").body) == Links{"d/", "i/", "top"});
  const std::string page = client.get("/p%20q/r/d/").body;
  CHECK(page.find("<h1>Index of <a href=\"../\">/p q/r/</a><a href=\"./\">d/</a></h1>") != std::string::npos);
  CHECK(client.get("/p%20q/r/top").body == store.content("top"));
  for (const char* outside : {"/", "/d/", "/top", "/p%20q/", "/p%20q/r/../top"}) {
    INFO(outside);
    CHECK(client.get(outside).status == 404);
  }
}

TEST_CASE("http directory: hidden dot files are neither served nor listed", "[net][http]") {
  FakeStore store;
  store.add(".env", {.size = 1});
  store.add("a", {.size = 1});
  store.add_directory(".git");
  store.add(".git/config", {.size = 1});
  auto hiding = start(&store, {.urls = {.dotfiles = false}});
  Client client(hiding->port());
  for (const char* hidden : {"/.env", "/%2eenv", "/.git", "/.git/", "/.git/config", "/a/../.env"}) {
    INFO(hidden);
    CHECK(client.get(hidden).status == 404);
  }
  CHECK(links_of(client.get("/").body) == Links{"a"});
  auto showing = start(&store);
  Client other(showing->port());
  CHECK(other.get("/.env").status == 200);
  CHECK(links_of(other.get("/").body) == Links{".git/", ".env", "a"});
}

TEST_CASE("http directory: programs get JSON", "[net][http]") {
  FakeStore store;
  tree_store(store);
  auto server = start(&store);
  Client client(server->port());
  Response response = client.get("/d/", "Accept: application/json\r\n");
  CHECK(response.status == 200);
  CHECK(response.fields["Content-Type"] == "application/json");
  CHECK(response.fields["Vary"] == "Accept");
  CHECK(response.body ==
        "[\n"
        "{\"name\":\"sub dir\",\"type\":\"directory\",\"size\":null,\"mtime\":\"1970-01-01T00:00:01Z\","
        "\"href\":\"sub%20dir/\"},\n"
        "{\"name\":\"a\",\"type\":\"file\",\"size\":3000,\"mtime\":\"2020-09-13T12:26:40Z\",\"href\":\"a\"},\n"
        "{\"name\":\"b&<c>\",\"type\":\"file\",\"size\":10,\"mtime\":\"2023-11-14T22:13:20Z\","
        "\"href\":\"b%26%3Cc%3E\"},\n"
        "{\"name\":\"\xef\xbf\xbd\\u000A\",\"type\":\"file\",\"size\":2,\"mtime\":\"2020-09-13T12:26:40Z\","
        "\"href\":\"%FF%0A\"}\n"
        "]\n");
  CHECK(client.get("/d/sub%20dir/deep/", "Accept: application/json\r\n").body == "[\n]\n");
}

TEST_CASE("http directory: an index stands for it", "[net][http]") {
  FakeStore store;
  tree_store(store);
  for (const bool blocking : {false, true}) {
    store.blocking_opens = blocking;
    auto server = start(&store, {.index_names = {"odd", "none.html", "index.html"}});
    Client client(server->port());
    Response response = client.get("/i/");
    CHECK(response.status == 200);
    CHECK(response.fields["Content-Type"] == "text/html");
    CHECK(response.body == store.content("i/index.html"));
    CHECK(client.get("/i/", "Range: bytes=1-2\r\n").status == 206);
    CHECK(client.get("/i").status == 301);
    CHECK(client.get("/i%2f").fields["Location"] == "/i/");
    CHECK(links_of(client.get("/d/").body).size() == 5);
  }
  store.blocking_opens = false;
  auto without = start(&store);
  CHECK(links_of(Client(without->port()).get("/i/").body) == Links{"../", "odd/", "index.html"});
  store.fail_open("i/index.html", EACCES);
  auto closed = start(&store, {.index_names = {"index.html"}});
  CHECK(Client(closed->port()).get("/i/").status == 403);
}

TEST_CASE("http directory: without listings there are only indexes", "[net][http]") {
  FakeStore store;
  tree_store(store);
  auto server = start(&store, {.index_names = {"index.html"}, .listing = false});
  Client client(server->port());
  CHECK(client.get("/d/").status == 403);
  CHECK(client.get("/").status == 403);
  CHECK(client.get("/d").status == 301);
  CHECK(client.get("/i/").status == 200);
}

TEST_CASE("http directory: HEAD has the header, HTTP/1.0 has no chunks", "[net][http]") {
  FakeStore store;
  tree_store(store);
  auto server = start(&store);
  Client client(server->port());
  Response got = client.get("/d/");
  client.write("HEAD /d/ HTTP/1.1\r\nHost: h\r\n\r\n");
  Response head = client.read(false);
  got.fields.erase("Date");
  head.fields.erase("Date");
  CHECK(head.fields == got.fields);
  CHECK(client.get("/top").status == 200);  // nothing was in between
  client.write("GET /d/ HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
  Response old = client.read_head();
  CHECK(old.status == 200);
  CHECK(old.fields["Connection"] == "close");
  CHECK_FALSE(old.fields.contains("Transfer-Encoding"));
  CHECK(client.read_to_end() == got.body);
}

TEST_CASE("http directory: more entries than are sorted come in their own order", "[net][http]") {
  FakeStore store;
  store.add_many("fits", kSortedMax);
  store.add_many("many", kSortedMax + 1);
  auto server = start(&store);
  Client client(server->port());
  Response response = client.get("/fits/?order=desc");
  Links links = links_of(response.body);
  CHECK(links.size() == kSortedMax + 1);
  CHECK(links[1] == "0009999");
  CHECK(response.body.find("?sort=") != std::string::npos);
  response = client.get("/many/?order=desc");
  links = links_of(response.body);
  CHECK(response.whole);
  CHECK(links.size() == kSortedMax + 2);
  CHECK(links[1] == "0000000");
  CHECK(links.back() == "0010000");
  CHECK(response.body.find("?sort=") == std::string::npos);
}

TEST_CASE("http directory: pages are not sorted beyond their memory", "[net][http]") {
  FakeStore store;
  store.add_many("some", 5000);
  auto server = start(&store, {.sorted_pages_bytes = 100'000});
  Client client(server->port());
  for (int round = 0; round < 2; ++round) {
    const Links links = links_of(client.get("/some/?order=desc").body);
    CHECK(links.size() == 5001);
    CHECK(links[1] == "0000000");
  }
  PageBudget budget(10);
  CHECK(budget.take(4));
  CHECK(budget.take(6));
  CHECK_FALSE(budget.take(1));
  budget.give_back(1);
  CHECK(budget.take(1));
}

TEST_CASE("http directory: a page is read no faster than its client takes it", "[net][http]") {
  constexpr uint64_t kEntries = 300'000;
  FakeStore store;
  store.add_many("huge", kEntries);
  auto server = start(&store);
  Client slow(server->port(), 4096);
  slow.write("GET /huge/ HTTP/1.1\r\nHost: h\r\n\r\n");
  while (store.listed_entries < kSortedMax) std::this_thread::yield();
  Client other(server->port());  // whose page takes its time
  CHECK(links_of(other.get("/huge/").body).size() == kEntries + 1);
  const uint64_t of_slow = store.listed_entries - kEntries;
  CHECK(of_slow < kEntries / 2);
  const Response response = slow.read();
  CHECK(response.whole);
  CHECK(links_of(response.body).size() == kEntries + 1);
}

TEST_CASE("http directory: errors are told by the status, or by a page without an end", "[net][http]") {
  FakeStore store;
  tree_store(store);
  store.add_many("fails", kSortedMax * 10);
  store.list_errors = {{"d/", EACCES}, {"d/sub dir/", EIO}, {"i/odd/", EMFILE}};
  store.listing_fails_after = kSortedMax * 5;
  auto server = start(&store);
  Client client(server->port());
  CHECK(client.get("/d/").status == 403);
  CHECK(client.get("/d/sub%20dir/").status == 500);
  CHECK(client.get("/i/odd/").status == 503);
  const Response response = client.get("/fails/");
  CHECK(response.status == 200);
  CHECK_FALSE(response.whole);
  CHECK(client.ended());
  Client old(server->port());
  old.write("GET /fails/ HTTP/1.0\r\n\r\n");
  old.read_to_end();
  CHECK(old.last_error() == ECONNRESET);
  CHECK(server->stats().broken_off == 2);
}

}  // namespace
}  // namespace sluice
