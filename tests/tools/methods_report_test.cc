#include "tools/bench/methods_report.h"

#include <nlohmann/json.hpp>

#include "tests/support/catch.h"
#include "tools/bench/methods_svg.h"

namespace sluice {
namespace {

constexpr uint64_t kMiB = uint64_t{1} << 20;

MethodRow row_of(const std::string& method, bool warm) {
  MethodRow row;
  row.method = method;
  row.title = method + " < & >";
  row.warm = warm;
  row.bytes = 320 * kMiB;
  row.calls = 700;
  row.context_switches = 11;
  row.seconds = 0.32;
  row.sender_cpu_seconds = 0.125;
  row.receiver_cpu_seconds = 0.25;
  return row;
}

size_t count_of(const std::string& text, const std::string& word) {
  size_t count = 0;
  for (size_t at = text.find(word); at != std::string::npos; at = text.find(word, at + 1)) ++count;
  return count;
}

TEST_CASE("methods report: the books' figures are those of the books, and grow with the file", "[tools][bench]") {
  const auto read_write = textbook_figures("read-write", 320 * kMiB);
  REQUIRE(read_write);
  CHECK(read_write->switches == 40'000);
  CHECK(read_write->copied_bytes == 1280 * kMiB);
  CHECK(read_write->cpu_copied_bytes == 640 * kMiB);
  const auto sendfile = textbook_figures("sendfile", 320 * kMiB);
  REQUIRE(sendfile);
  CHECK(sendfile->switches == 400);
  CHECK(sendfile->copied_bytes == 640 * kMiB);
  CHECK(sendfile->cpu_copied_bytes == 0);
  CHECK(textbook_figures("read-write", 32 * kMiB)->switches == 4'000);
  CHECK_FALSE(textbook_figures("splice", 320 * kMiB));
}

TEST_CASE("methods report: Sluice's warm roads have a goal, which a wait raises by pipe only", "[tools][bench]") {
  MethodRow pipe = row_of("sluice-vmsplice", true);
  CHECK(calls_goal(pipe) == 640 + 24);
  pipe.waits = 10;
  CHECK(calls_goal(pipe) == 640 + 24 + 30);
  MethodRow zerocopy = row_of("sluice-zerocopy", true);
  zerocopy.waits = 10;
  CHECK(calls_goal(zerocopy) == 399);
  CHECK_FALSE(calls_goal(row_of("sluice-vmsplice", false)));
  CHECK_FALSE(calls_goal(row_of("sendfile", true)));
  pipe.refused = "Operation not permitted";
  CHECK_FALSE(calls_goal(pipe));
}

TEST_CASE("methods report: the table says what was measured, how it was counted, and what is not allowed here",
          "[tools][bench]") {
  MethodRow warm = row_of("sendfile", true);
  warm.page_cache_pages = 81920;
  MethodRow refused = row_of("send-zc", false);
  refused.refused = "Operation not permitted";
  const std::string table = methods_table({warm, refused, row_of("sluice-vmsplice", true)});
  CHECK(table ==
        "method           state   calls   waits switches MiB copied     CPU s  receiver   time s     MB/s    pages\n"
        "sendfile         warm      700       -       11        0.0     0.125     0.250    0.320     1049    81920\n"
        "send-zc          cold        -       -        -          -         -         -        -        -        -\n"
        "sluice-vmsplice  warm      700       -       11        0.0     0.125     0.250    0.320     1049        0\n"
        "calls: of all threads of the sender, counted by the kernel's tracepoint\n"
        "send-zc/cold: this system does not let it run: Operation not permitted\n"
        "\n"
        "the textbook             switches       here   MiB copied   by the CPU         here\n"
        "sendfile         warm         400       1400          640            0          0.0\n"
        "\n"
        "the goals\n"
        "sluice-vmsplice  warm      700 calls, at most     664: no       0.0 MiB copied, none is wanted: yes\n");
  warm.counting = CallCounting::own;
  warm.calls.reset();
  CHECK(methods_table({warm}).find("warm        -") != std::string::npos);
  CHECK(methods_table({warm}).find("ptrace is not allowed here") != std::string::npos);
}

TEST_CASE("methods report: JSON says null for what is not known", "[tools][bench]") {
  MethodRow warm = row_of("sluice-vmsplice", true);
  warm.waits = 2;
  MethodRow refused = row_of("sluice-copy", false);
  refused.refused = "Operation not permitted";
  const nlohmann::ordered_json list = methods_json({warm, refused, row_of("read-write", false)});
  REQUIRE(list.size() == 3);
  CHECK(list[0]["state"] == "warm");
  CHECK(list[0]["refused"].is_null());
  CHECK(list[0]["system_calls"] == 700);
  CHECK(list[0]["system_calls_by_sender"].is_null());
  CHECK(list[0]["counted_by"] == "tracepoint");
  CHECK(list[0]["system_calls_goal"] == 670);
  CHECK(list[1]["refused"] == "Operation not permitted");
  CHECK_FALSE(list[1].contains("seconds"));
  CHECK(list[2]["textbook_switches"] == 40'000);
}

TEST_CASE("methods picture: every method has a line, every row a bar in each panel, and names are escaped",
          "[tools][bench]") {
  MethodRow refused = row_of("send-zc", false);
  refused.refused = "Operation not permitted";
  const std::string svg = methods_svg({row_of("sendfile", false), row_of("sendfile", true), refused});
  CHECK(svg.starts_with("<svg xmlns=\"http://www.w3.org/2000/svg\""));
  CHECK(svg.ends_with("</svg>\n"));
  CHECK(count_of(svg, "sendfile &lt; &amp; &gt;") == 1);
  CHECK(count_of(svg, "#8fb8de") == 1 + 2 * 4);  // the legend's, and the bars'
  CHECK(count_of(svg, "#d9772b") == 1 + 4);
  CHECK(count_of(svg, "not known") == 4);
}

}  // namespace
}  // namespace sluice
