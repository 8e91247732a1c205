#include "tools/warm_list.h"

#include <sys/stat.h>
#include <unistd.h>

#include <random>

#include "tests/support/catch.h"
#include "tests/support/seed.h"
#include "tests/support/temporary_directory.h"

namespace sluice {
namespace {

CachedContent content(std::string path, std::vector<PageRange> pages, uint64_t size = 1 << 20) {
  CachedContent one;
  one.handle = std::string("\x01\x00\xff\x80 ", 5);
  one.path = std::move(path);
  one.stamp = {.ino = 12, .birth_ns = -5, .size = size, .mtime_ns = 1700000000123456789, .ctime_ns = 17};
  one.pages = std::move(pages);
  return one;
}

bool same(const CachedContent& a, const CachedContent& b) {
  const auto equal_ranges = [](const PageRange& x, const PageRange& y) {
    return x.first == y.first && x.count == y.count;
  };
  return a.handle == b.handle && a.path == b.path && a.stamp == b.stamp &&
         std::equal(a.pages.begin(), a.pages.end(), b.pages.begin(), b.pages.end(), equal_ranges);
}

std::string complaint_of(const std::string& text) {
  const auto parsed = parse_warm_list(text);
  return parsed ? parsed->damage : parsed.error().line;
}

TEST_CASE("warm list: what is written is read back, whatever files are called", "[tools][warm]") {
  std::vector<CachedContent> all = {content("a/b c%20\n\xff", {{0, 1}, {5, 3}, {255, 1}}), content("", {{0, 256}})};
  all[1].handle.clear();
  all[1].path = "x";
  const auto parsed = parse_warm_list(print_warm_list(all));
  REQUIRE(parsed);
  CHECK(parsed->damage.empty());
  REQUIRE(parsed->contents.size() == 2);
  CHECK(same(parsed->contents[0], all[0]));
  CHECK(same(parsed->contents[1], all[1]));
  CHECK(parse_warm_list(print_warm_list({}))->contents.empty());
}

TEST_CASE("warm list: of a damaged one, what precedes the damage counts", "[tools][warm]") {
  const std::string text = print_warm_list({content("a", {{0, 1}}), content("b", {{1, 1}})});
  const auto cut = parse_warm_list(text.substr(0, text.size() - 4));
  REQUIRE(cut);
  REQUIRE(cut->contents.size() == 1);
  CHECK(cut->contents[0].path == "a");
  CHECK(cut->damage == "line 5: no pages of that file");
  CHECK(!parse_warm_list("nonsense\n"));
  CHECK(!parse_warm_list("sluice-warm-list 2\n"));
}

TEST_CASE("warm list: what is none is told by its line", "[tools][warm]") {
  const std::string first = "sluice-warm-list 1\n";
  const std::string file = "file 12 0 8192 5 6 - a\n";
  CHECK(complaint_of("").empty());
  CHECK(complaint_of("sluice-warm-list 2\n") == "line 1: not a warm list ('sluice-warm-list 1')");
  CHECK(complaint_of(first + file + "pages 0-1\n").empty());
  for (const char* pages : {"", "pages", "pages ", "pages 2", "pages 0-2", "pages 1-0", "pages 1,0", "pages 0,0",
                            "pages x", "pages 0-", "pages -1", "pages 0-1,", "pages 0x1", "page 0"}) {
    INFO(pages);
    const std::string complaint = complaint_of(first + file + pages + "\n");
    if (std::string_view(pages) != "pages 0-1," && std::string_view(pages) != "pages 0-") {
      CHECK(complaint == "line 3: no pages of that file");
    }
  }
  for (const char* bad : {"file", "file 1 2 3 4 5", "file 1 2 3 4 5 -", "file 1 2 3 4 5 - ", "file a 2 3 4 5 - a",
                          "file 1 2 3 4 5 f a", "file 1 2 3 4 5 zz a", "nonsense"}) {
    CHECK(complaint_of(first + file + "pages 0\n" + bad + "\npages 0\n") == "line 4: no file");
  }
}

TEST_CASE("warm list: no bytes make the reader fail", "[tools][warm][random]") {
  std::mt19937_64 random(test_seed());
  const std::string good = print_warm_list({content("a", {{0, 9}, {20, 1}}), content("b", {{3, 1}})});
  for (int i = 0; i < 20'000; i++) {
    std::string text = good;
    for (uint64_t changes = random() % 4; changes > 0; changes--) {
      text[random() % text.size()] = static_cast<char>(random() % 3 != 0 ? "0123 -,\n%f"[random() % 10] : random());
    }
    text.resize(text.size() - random() % 3 * (random() % text.size()) / 2);
    const auto parsed = parse_warm_list(text);
    if (!parsed) continue;
    for (const CachedContent& one : parsed->contents) {
      for (const PageRange& range : one.pages) CHECK(range.end() <= pages_of(0, one.stamp.size).count);
    }
  }
}

TEST_CASE("warm list: a file is replaced whole, and one that is absent is empty", "[tools][warm]") {
  const TemporaryDirectory directory;
  const std::string path = directory / "list";
  CHECK(load_warm_list(path)->empty());
  REQUIRE(save_warm_list(path, {content("a", {{0, 1}})}));
  REQUIRE(save_warm_list(path, {content("b", {{0, 1}}), content("c", {{1, 1}})}));
  CHECK(load_warm_list(path)->size() == 2);
  struct stat attributes {};
  REQUIRE(::stat(path.c_str(), &attributes) == 0);
  CHECK((attributes.st_mode & 07777) == 0600);
  CHECK(std::distance(std::filesystem::directory_iterator(directory.path()), {}) == 1);
  const std::string absent = directory / "none/list";
  CHECK(save_warm_list(absent, {}).error().line ==
        "--warm-restart: cannot write '" + absent + "': No such file or directory");
}

TEST_CASE("warm list: what is no regular file is refused and stays", "[tools][warm]") {
  const TemporaryDirectory directory;
  const std::string pipe = directory / "pipe";
  const std::string link = directory / "link";
  REQUIRE(::mkfifo(pipe.c_str(), 0600) == 0);
  REQUIRE(::symlink("/dev/null", link.c_str()) == 0);
  for (const std::string& path : {pipe, link, directory.path()}) {
    const auto loaded = load_warm_list(path);
    REQUIRE(!loaded);
    CHECK(loaded.error().line == "--warm-restart: '" + path + "' is no regular file; give another name");
  }
}

}  // namespace
}  // namespace sluice
