#include "tools/command_line.h"

#include <stdlib.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "tests/support/catch.h"
#include "tests/support/temporary_file.h"

namespace sluice {
namespace {

CommandLine parse(std::vector<std::string> arguments, const std::string& program = "sluice") {
  arguments.insert(arguments.begin(), program);
  const Checked<CommandLine> line = parse_command_line(arguments);
  INFO((line ? "" : line.error().line));
  REQUIRE(line);
  return *line;
}

std::string complaint_of(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), "sluice");
  const Checked<CommandLine> line = parse_command_line(arguments);
  return line ? "" : line.error().line;
}

TEST_CASE("command line: mount with flags in both spellings, before and after the operands", "[tools][command_line]") {
  const CommandLine line = parse({"mount", "--cache-size", "4G", "--cache_policy=lru", "/srv/a", "/mnt/a", "-f",
                                  "--http=8080", "-o", "ro,io_depth=8", "-o", "attr_timeout=2"});
  CHECK(line.command == Command::mount);
  CHECK(line.source == "/srv/a");
  CHECK(line.mountpoint == "/mnt/a");
  CHECK(line.options.cache_size_bytes == uint64_t{4} << 30);
  CHECK(line.options.cache_policy == "lru");
  CHECK(line.options.foreground);
  CHECK(line.options.http == ":8080");
  CHECK(line.options.read_only);
  CHECK(line.options.io_depth == 8);
  CHECK(line.options.attr_timeout == std::chrono::seconds(2));
}

TEST_CASE("command line: booleans without a value, with one, and negated", "[tools][command_line]") {
  CHECK(parse({"mount", "--ro", "s", "m"}).options.read_only);
  CHECK(parse({"mount", "--ro=yes", "s", "m"}).options.read_only);
  CHECK_FALSE(parse({"mount", "--ro=no", "s", "m"}).options.read_only);
  CHECK_FALSE(parse({"mount", "--direct-io=false", "s", "m"}).options.direct_io);
  CHECK_FALSE(parse({"mount", "--no-direct-io", "s", "m"}).options.direct_io);
  CHECK_FALSE(parse({"mount", "--noexec", "s", "m"}).options.exec);
  CHECK(parse({"mount", "--suid", "s", "m"}).options.suid);
}

TEST_CASE("command line: flags win over -o, and both over the file; the last of two flags wins",
          "[tools][command_line]") {
  const TemporaryFile config("cache-size = 1G\nio-depth = 1\nreadahead = 1M\nhttp = 80\n");
  const CommandLine line = parse({"mount", "--io-depth", "3", "--io-depth", "4", "-o", "io_depth=2,readahead=3M",
                                  "--http", "off", "--config", config.path(), "s", "m"});
  CHECK(line.options.cache_size_bytes == uint64_t{1} << 30);
  CHECK(line.options.readahead_bytes == uint64_t{3} << 20);
  CHECK(line.options.io_depth == 4);
  CHECK_FALSE(line.options.http);
  CHECK(parse({"mount", "-o", "config=" + config.path(), "s", "m"}).options.cache_size_bytes == uint64_t{1} << 30);
}

TEST_CASE("command line: the other commands", "[tools][command_line]") {
  CHECK(parse({}).command == Command::help);
  CHECK(parse({"--help"}).command == Command::help);
  CHECK(parse({"version"}).command == Command::version);
  CHECK(parse({"--version"}).command == Command::version);
  CHECK(parse({"serve", "--http", "8080", "/srv"}).source == "/srv");
  CHECK(parse({"umount", "/mnt/a"}).mountpoint == "/mnt/a");
  CHECK(parse({"status"}).target.empty());
  const CommandLine status = parse({"status", "--json", "/mnt/a"});
  CHECK(status.target == "/mnt/a");
  CHECK(status.options.json);
  const CommandLine help = parse({"mount", "--help"});
  CHECK(help.command == Command::help);
  CHECK(help.topic == Command::mount);
  CHECK(parse({"help", "serve"}).topic == Command::serve);
  const CommandLine bench = parse({"bench", "cache", "--filter", "hit-.*", "--seconds", "0.5", "--json"});
  CHECK(bench.command == Command::bench);
  CHECK(bench.options.bench_filter == "hit-.*");
  CHECK(bench.options.bench_time == std::chrono::milliseconds(500));
  CHECK(bench.options.json);
}

TEST_CASE("command line: a directory may have the name of a command or of an option", "[tools][command_line]") {
  const CommandLine line = parse({"mount", "--", "status", "--ro"});
  CHECK(line.source == "status");
  CHECK(line.mountpoint == "--ro");
}

TEST_CASE("command line: relative paths of what the gateway makes are taken from here", "[tools][command_line]") {
  const Options options = parse({"mount", "--control", "c.sock", "--trace-out", "t", "s", "m"}).options;
  CHECK(options.control == (std::filesystem::current_path() / "c.sock").string());
  CHECK(options.trace_out == (std::filesystem::current_path() / "t").string());
}

TEST_CASE("command line: source and mountpoint may be options, which operands overrule", "[tools][command_line]") {
  const CommandLine by_option = parse({"mount", "--source", "/srv/a", "--mountpoint", "/mnt/a"});
  CHECK(by_option.source == "/srv/a");
  CHECK(by_option.mountpoint == "/mnt/a");
  const CommandLine by_operands = parse({"mount", "--source", "/srv/a", "--mountpoint", "/mnt/a", "/srv/b", "/mnt/b"});
  CHECK(by_operands.source == "/srv/b");
  CHECK(by_operands.mountpoint == "/mnt/b");
  CHECK(parse({"serve", "--source", "/srv/a"}).source == "/srv/a");
  CHECK(complaint_of({"mount", "--source", "/srv/a"}) == "mount takes SOURCE MOUNTPOINT; see 'sluice help mount'");
  CHECK(complaint_of({"mount", "--source", "/srv/a", "/mnt/a"}) ==
        "mount takes SOURCE MOUNTPOINT; see 'sluice help mount'");
}

TEST_CASE("command line: mistakes are named", "[tools][command_line]") {
  CHECK(complaint_of({"moutn", "s", "m"}) == "'moutn' is not a command; did you mean 'mount'?");
  CHECK(complaint_of({"frobnicate"}) == "'frobnicate' is not a command; 'sluice help' lists them");
  CHECK(complaint_of({"mount", "s"}) == "mount takes SOURCE MOUNTPOINT; see 'sluice help mount'");
  CHECK(complaint_of({"mount", "s", "m", "x"}) == "mount takes SOURCE MOUNTPOINT; see 'sluice help mount'");
  CHECK(complaint_of({"bench"}) ==
        "bench takes WHAT (cache, fuse, methods, nfs URL, or ceiling FILE MOUNTPOINT); see 'sluice help bench'");
  CHECK(complaint_of({"bench", "ceiling", "file"}) == complaint_of({"bench"}));
  CHECK(complaint_of({"bench", "cache", "file"}) == complaint_of({"bench"}));
  CHECK(complaint_of({"bench", "nfs"}) == complaint_of({"bench"}));
  CHECK(complaint_of({"bench", "disk"}) == "bench does not measure 'disk'; it knows: cache, fuse, methods, nfs, ceiling");
  CHECK(complaint_of({"bench", "cache", "--seconds", "0"}) == "--seconds: nothing can be measured in no time");
  CHECK(complaint_of({"umount"}) == "umount takes MOUNTPOINT; see 'sluice help umount'");
  CHECK(complaint_of({"mount", "--cache-sise", "4G", "s", "m"}) ==
        "--cache-sise: no such option; did you mean 'cache-size'?");
  CHECK(complaint_of({"mount", "--cache-sise=4G", "s", "m"}) ==
        "--cache-sise: no such option; did you mean 'cache-size'?");
  CHECK(complaint_of({"mount", "-x", "s", "m"}) == "-x: no such option; 'sluice help mount' lists them");
  CHECK(complaint_of({"mount", "--cache-size", "12Q", "s", "m"}) ==
        "--cache-size: '12Q' is not a size; write for example 512M or 4G");
  CHECK(complaint_of({"serve", "--allow-other", "s"}).starts_with("--allow-other: "));
  CHECK(complaint_of({"mount", "s", "m", "--cache-size"}).find("--cache-size") != std::string::npos);
}

TEST_CASE("command line: mount.sluice takes what mount(8) hands over", "[tools][command_line]") {
  const CommandLine line =
      parse({"/srv/a", "/mnt/a", "-n", "-sv", "-o", "rw,cache_size=4G,_netdev", "-t", "sluice"}, "/sbin/mount.sluice");
  CHECK(line.command == Command::mount);
  CHECK(line.source == "/srv/a");
  CHECK(line.mountpoint == "/mnt/a");
  CHECK(line.options.cache_size_bytes == uint64_t{4} << 30);
  CHECK_FALSE(line.options.foreground);
  CHECK_FALSE(line.only_check);
  CHECK(parse({"/srv/a", "/mnt/a", "-f"}, "mount.sluice").only_check);
}

}  // namespace
}  // namespace sluice
