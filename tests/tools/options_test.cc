#include "tools/options.h"

#include "tests/support/catch.h"
#include "tools/exports.h"
#include "tools/option_values.h"

namespace sluice {
namespace {

constexpr unsigned kMount = command_bit(Command::mount);

std::string complaint_of(std::string_view mount_options) {
  Options options;
  const Checked<> done = apply_mount_options(options, kMount, mount_options);
  return done ? "" : done.error().line;
}

Options options_of(std::string_view mount_options) {
  Options options;
  const Checked<> done = apply_mount_options(options, kMount, mount_options);
  INFO(mount_options << ": " << (done ? "" : done.error().line));
  CHECK(done);
  return options;
}

TEST_CASE("options: sizes are powers of 1024", "[tools][options]") {
  CHECK(parse_size("0") == 0);
  CHECK(parse_size("4096") == 4096);
  CHECK(parse_size("4096B") == 4096);
  CHECK(parse_size("4K") == 4096);
  CHECK(parse_size("4k") == 4096);
  CHECK(parse_size("256M") == uint64_t{256} << 20);
  CHECK(parse_size("256MiB") == uint64_t{256} << 20);
  CHECK(parse_size("1.5G") == uint64_t{1536} << 20);
  CHECK(parse_size("2T") == uint64_t{2} << 40);
  for (const char* bad :
       {"", "M", "12Q", "12MB", "12 M", "-1", "1e3", "inf", "nan", "0x10", "1.2.3", "99999999T", "4G "}) {
    INFO(bad);
    CHECK_FALSE(parse_size(bad));
  }
}

TEST_CASE("options: a written size is read back the same", "[tools][options]") {
  CHECK(format_size(uint64_t{256} << 20) == "256M");
  CHECK(format_size(0) == "0B");
  for (const uint64_t bytes : {uint64_t{1}, uint64_t{1023}, uint64_t{4096}, uint64_t{5} << 30, uint64_t{3} << 50}) {
    CHECK(parse_size(format_size(bytes)) == bytes);
  }
  CHECK(format_size_rounded(1000) == "1000 B");
  CHECK(format_size_rounded(1536) == "1.5 KiB");
}

TEST_CASE("options: durations", "[tools][options]") {
  using namespace std::chrono_literals;
  CHECK(parse_duration("5") == 5s);
  CHECK(parse_duration("0") == 0s);
  CHECK(parse_duration("0.5") == 500ms);
  CHECK(parse_duration("250ms") == 250ms);
  CHECK(parse_duration("5s") == 5s);
  CHECK(parse_duration("2m") == 2min);
  CHECK(parse_duration("1h") == 1h);
  CHECK(parse_duration("1d") == 24h);
  for (const char* bad : {"", "s", "-1s", "5 s", "5y", "5sec", "inf", "1e99"}) {
    INFO(bad);
    CHECK_FALSE(parse_duration(bad));
  }
}

TEST_CASE("options: truth", "[tools][options]") {
  for (const char* yes : {"true", "yes", "on", "1"}) CHECK(parse_bool(yes) == true);
  for (const char* no : {"false", "no", "off", "0"}) CHECK(parse_bool(no) == false);
  for (const char* bad : {"", "maybe", "True!", "2"}) CHECK_FALSE(parse_bool(bad));
}

TEST_CASE("options: an address without a host is the loopback", "[tools][options]") {
  CHECK(parse_address("8080") == ":8080");
  CHECK(parse_address(":8080") == ":8080");
  CHECK(parse_address("0.0.0.0:80") == "0.0.0.0:80");
  CHECK(parse_address("[::1]:80") == "[::1]:80");
  for (const char* bad : {"", ":", "host", "1.2.3.4", "127.0.0.1:", "127.0.0.1:http", "127.0.0.1:65536", "::1:80"}) {
    INFO(bad);
    CHECK_FALSE(parse_address(bad));
  }
}

TEST_CASE("options: names of files, prefixes of URLs and values of header fields", "[tools][options]") {
  CHECK(parse_names("index.html,a b") == std::vector<std::string>{"index.html", "a b"});
  for (const char* bad : {"", "a,", ",a", "a,,b", "a/b", "..", "a,."}) {
    INFO(bad);
    CHECK_FALSE(parse_names(bad));
  }
  CHECK(parse_prefix("/") == "");
  CHECK(parse_prefix("/a/b") == "a/b/");
  CHECK(parse_prefix("//a/b/") == "a/b/");
  for (const char* bad : {"", "a", "/a/../b", "/./a", "/a\nb"}) {
    INFO(bad);
    CHECK_FALSE(parse_prefix(bad));
  }
  CHECK(parse_header_value("public, max-age=60") == "public, max-age=60");
  for (const char* bad : {"", " a", "a ", "a\r\nb: c", "\xc3\xbc", "a\tb"}) {
    INFO(bad);
    CHECK_FALSE(parse_header_value(bad));
  }
}

TEST_CASE("options: the table's defaults are those of Options", "[tools][options]") {
  Options set;
  const Options plain;
  for (const OptionSpec& spec : option_table()) {
    if (spec.by_default.empty()) continue;
    INFO(spec.name);
    const Checked<> done = set_option(set, spec.commands, spec.name, spec.by_default, spec.name);
    INFO((done ? "" : done.error().line));
    REQUIRE(done);
  }
  CHECK(set.cache_size_bytes == plain.cache_size_bytes);
  CHECK(set.cache_policy == plain.cache_policy);
  CHECK(set.readahead_bytes == plain.readahead_bytes);
  CHECK(set.io_depth == plain.io_depth);
  CHECK(set.direct_io == plain.direct_io);
  CHECK(set.disk_engine == plain.disk_engine);
  CHECK(set.release_proof == plain.release_proof);
  CHECK(set.checksum == plain.checksum);
  CHECK(set.checksum_period == plain.checksum_period);
  CHECK(set.io_timeout == plain.io_timeout);
  CHECK(set.drain_timeout == plain.drain_timeout);
  CHECK(set.http_index == plain.http_index);
  CHECK(set.http_listing == plain.http_listing);
  CHECK(set.http_prefix == plain.http_prefix);
  CHECK(set.http_dotfiles == plain.http_dotfiles);
  CHECK(set.http_cache_control == plain.http_cache_control);
  CHECK(set.trace_rate == plain.trace_rate);
  CHECK(set.http == plain.http);
  CHECK(set.http_threads == plain.http_threads);
  CHECK(set.send_method == plain.send_method);
  CHECK(set.nfs == plain.nfs);
  CHECK(set.nfs_squash == plain.nfs_squash);
  CHECK(set.nfs_anonuid == plain.nfs_anonuid);
  CHECK(set.nfs_anongid == plain.nfs_anongid);
  CHECK(set.nfs_threads == plain.nfs_threads);
  CHECK(set.read_only == plain.read_only);
  CHECK(set.entry_timeout == plain.entry_timeout);
  CHECK(set.attr_timeout == plain.attr_timeout);
  CHECK(set.negative_timeout == plain.negative_timeout);
  CHECK(set.fuse_threads == plain.fuse_threads);
  CHECK(set.clone_fd == plain.clone_fd);
  CHECK(set.suid == plain.suid);
  CHECK(set.dev == plain.dev);
  CHECK(set.exec == plain.exec);
  CHECK(set.atime == plain.atime);
  CHECK(set.subtype == plain.subtype);
  CHECK(set.foreground == plain.foreground);
  CHECK(set.log_level == plain.log_level);
}

TEST_CASE("options: -o splits at commas but not at escaped ones", "[tools][options]") {
  using Words = std::vector<std::string>;
  CHECK(split_mount_options("").empty());
  CHECK(split_mount_options("a") == Words{"a"});
  CHECK(split_mount_options("a,b=c,,d,") == Words{"a", "b=c", "d"});
  CHECK(split_mount_options(R"(fsname=a\,b,c)") == Words{"fsname=a,b", "c"});
  CHECK(split_mount_options(R"(a\\,b)") == Words{R"(a\)", "b"});
  CHECK(split_mount_options(R"(a\b,c\)") == Words{R"(a\b)", R"(c\)"});
}

TEST_CASE("options: -o takes dashes and underscores, and noNAME", "[tools][options]") {
  const Options options =
      options_of("cache_size=4G,cache-policy=lru,ro,nosuid,noexec,no-direct-io,allow_other,noatime,dev");
  CHECK(options.cache_size_bytes == uint64_t{4} << 30);
  CHECK(options.cache_policy == "lru");
  CHECK(options.read_only);
  CHECK_FALSE(options.suid);
  CHECK_FALSE(options.exec);
  CHECK_FALSE(options.direct_io);
  CHECK_FALSE(options.atime);
  CHECK(options.dev);
  CHECK(options.allow_other == true);
  CHECK_FALSE(options_of("ro,rw").read_only);
  CHECK_FALSE(options_of("http=8080,http=off").http);
}

TEST_CASE("options: -o skips what fstab says to others", "[tools][options]") {
  const Options options = options_of(
      "_netdev,nofail,noauto,user,users,defaults,x-systemd.automount,x-systemd.requires=/srv,comment=ours,user=eve,rw,"
      "default_permissions,attr_timeout=3");
  CHECK(options.attr_timeout == std::chrono::seconds(3));
}

TEST_CASE("options: a bad value is a line that names option and remedy", "[tools][options]") {
  CHECK(complaint_of("cache_size=12Q") == "-o cache_size: '12Q' is not a size; write for example 512M or 4G");
  CHECK(complaint_of("cache_size=4M") == "-o cache_size: 4M is too small; the least is 8M");
  CHECK(complaint_of("readahead=2G") == "-o readahead: 2G is too large; the most is 1G");
  CHECK(complaint_of("io_depth=0") == "-o io_depth: 0 is too small; the least is 1");
  CHECK(complaint_of("io_depth=many") == "-o io_depth: 'many' is not a whole number");
  CHECK(complaint_of("cache_policy=fifo") ==
        "-o cache_policy: 'fifo' is not known; choose one of lru|midpoint|s3fifo|arc");
  CHECK(complaint_of("cache_policy=lru|midpoint") ==
        "-o cache_policy: 'lru|midpoint' is not known; choose one of lru|midpoint|s3fifo|arc");
  CHECK(complaint_of("checksum=yes") == "-o checksum: 'yes' is not known; choose one of off|scrub|always");
  CHECK(complaint_of("checksum_period=often") ==
        "-o checksum_period: 'often' is not a duration; write for example 500ms, 5s or 1m");
  CHECK(complaint_of("ro=maybe") == "-o ro: 'maybe' is neither true nor false");
  CHECK(complaint_of("attr_timeout=soon") ==
        "-o attr_timeout: 'soon' is not a duration; write for example 500ms, 5s or 1m");
  CHECK(complaint_of("http=nowhere") ==
        "-o http: 'nowhere' is not an address; write for example 127.0.0.1:8080, 0.0.0.0:8080 or 8080");
  CHECK(complaint_of("cache_size") == "-o cache_size: needs a value, cache_size=SIZE");
  CHECK(complaint_of("fsname=") == "-o fsname: needs a value");
  CHECK(complaint_of("json") == "-o json: is an option of 'sluice status' and 'sluice sim' and 'sluice bench' only");
}

TEST_CASE("options: an unknown name is answered with the nearest one", "[tools][options]") {
  CHECK(complaint_of("cache_sise=4G") == "-o cache_sise: no such option; did you mean 'cache-size'?");
  CHECK(complaint_of("chache-size=4G") == "-o chache-size: no such option; did you mean 'cache-size'?");
  CHECK(complaint_of("attr-timout=1") == "-o attr-timout: no such option; did you mean 'attr-timeout'?");
  CHECK(complaint_of("frobnicate") == "-o frobnicate: no such option; 'sluice help mount' lists them");
  CHECK(complaint_of("nocache-size") == "-o nocache-size: no such option; did you mean 'cache-size'?");
}

TEST_CASE("options: a file of keys, with comments and blank lines", "[tools][options]") {
  Options options;
  const Checked<> done = apply_config_text(options,
                                           "# our archive\n"
                                           "\n"
                                           "cache-size = 1G   # all of it\n"
                                           "\tcache_policy=lru\r\n"
                                           "ro\n"
                                           "http = 127.0.0.1:8080",
                                           "f");
  REQUIRE(done);
  CHECK(options.cache_size_bytes == uint64_t{1} << 30);
  CHECK(options.cache_policy == "lru");
  CHECK(options.read_only);
  CHECK(options.http == "127.0.0.1:8080");
}

TEST_CASE("options: a complaint about a file names the line", "[tools][options]") {
  const auto complaint = [](std::string_view text) {
    Options options;
    const Checked<> done = apply_config_text(options, text, "a.conf");
    return done ? "" : done.error().line;
  };
  CHECK(complaint("\n\ncache-size = lots\n") ==
        "a.conf:3: cache-size: 'lots' is not a size; write for example 512M or 4G");
  CHECK(complaint("cache-sizes = 1G") == "a.conf:1: cache-sizes: no such option; did you mean 'cache-size'?");
  CHECK(complaint("cache-size") == "a.conf:1: cache-size: needs a value, cache-size=SIZE");
  CHECK(complaint("ro\nconfig = b.conf") == "a.conf:2: config: a configuration file cannot name another");
  CHECK(complaint("json = true") ==
        "a.conf:1: json: is an option of 'sluice status' and 'sluice sim' and 'sluice bench' only");
  CHECK(complaint("= 3") == "a.conf:1: : no such option; 'sluice help mount' lists them");
}

TEST_CASE("options: a file that cannot be read", "[tools][options]") {
  Options options;
  for (const char* path : {"/nonexistent/a.conf", "/"}) {
    const Checked<> done = apply_config_file(options, path);
    REQUIRE_FALSE(done);
    CHECK(done.error().line.find(path) != std::string::npos);
  }
}

TEST_CASE("options: what slow clients may hold is a share of the cache, or as said, for both exports together",
          "[tools][options]") {
  const uint64_t cache_size = 64 << 20;
  CHECK(send_pinned_max(options_of("http=8080"), cache_size) == 16 << 20);
  CHECK(send_pinned_max(options_of("http=8080,nfs=2049"), cache_size) == 8 << 20);
  CHECK(send_pinned_max(options_of("nfs=2049,send_pinned_max=4M"), cache_size) == 4 << 20);
  CHECK(send_pinned_max(options_of("http=8080,nfs=2049,send_pinned_max=4M"), cache_size) == 2 << 20);
}

TEST_CASE("options: each has help that fits a screen, and serve has none that need a mount", "[tools][options]") {
  for (const OptionSpec& spec : option_table()) {
    INFO(spec.name);
    CHECK_FALSE(spec.help.empty());
    CHECK(spec.help.size() < 110);
    CHECK(spec.commands != 0);
  }
  CHECK(options_help(Command::mount).find("allow-other") != std::string::npos);
  CHECK(options_help(Command::serve).find("allow-other") == std::string::npos);
}

}  // namespace
}  // namespace sluice
