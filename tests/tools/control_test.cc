#include "tools/control.h"

#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <thread>

#include "cache/unique_fd.h"
#include "tests/support/catch.h"
#include "tests/support/temporary_directory.h"

namespace sluice {
namespace {

namespace fs = std::filesystem;

std::unique_ptr<ControlServer> serve(
    const std::string& path, std::function<void()> stop = [] {},
    std::function<Result<void>()> unmount = []() -> Result<void> { return {}; }) {
  auto server = ControlServer::open(path, {.status = [] { return std::string("{}\n"); },
                                           .unmount = std::move(unmount),
                                           .stop = std::move(stop),
                                           .cache =
                                               [](const std::vector<std::string>& words, const ControlReply& reply) {
                                                 for (const std::string& word : words) reply("word " + word);
                                                 while (words.back() == "endless" && reply("more")) {
                                                 }
                                               }});
  INFO((server ? "" : server.error().line));
  REQUIRE(server);
  return std::move(*server);
}

std::vector<std::string> must_hear(EndRequest& request) {
  auto words = request.last_words();
  REQUIRE(words);
  return *words;
}

// What a killed gateway leaves.
void leave_stale_socket(const std::string& path) {
  const UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, path.c_str(), sizeof(address.sun_path) - 1);
  REQUIRE(::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0);
}

TEST_CASE("control: the directory depends on the user", "[tools][control]") {
  CHECK(control_directory({0, "/run/user/0"}) == "/run/sluice");
  CHECK(control_directory({1000, "/run/user/1000"}) == "/run/user/1000/sluice");
  CHECK(control_directory({1000, ""}) == "/tmp/sluice-1000");
  CHECK(control_directory({1000, "relative"}) == "/tmp/sluice-1000");
}

TEST_CASE("control: a directory that others could fill is not trusted", "[tools][control]") {
  const TemporaryDirectory directory;
  const uid_t me = ::geteuid();
  CHECK(make_control_directory(directory / "new", me));
  CHECK(make_control_directory(directory / "new", me));
  CHECK_FALSE(check_control_directory(directory / "new", me + 1));

  ::mkdir((directory / "open").c_str(), 0700);
  ::chmod((directory / "open").c_str(), 0777);
  CHECK_FALSE(make_control_directory(directory / "open", me));
  ::chmod((directory / "open").c_str(), 0755);
  CHECK(check_control_directory(directory / "open", me).has_value() == (me == 0));

  fs::create_directory_symlink(directory / "new", directory / "link");
  CHECK_FALSE(make_control_directory(directory / "link", me));
  std::ofstream(directory / "file") << "";
  CHECK_FALSE(make_control_directory(directory / "file", me));
  CHECK_FALSE(make_control_directory(directory / "absent/new", me));
}

TEST_CASE("control: a gateway answers who asks, and its socket is for its user only", "[tools][control]") {
  const TemporaryDirectory directory;
  const std::string path = directory / "c.sock";
  std::atomic<int> stops = 0;
  auto server = serve(path, [&] { ++stops; });
  CHECK(server->path() == path);
  CHECK((fs::status(path).permissions() & fs::perms::mask) == (fs::perms::owner_read | fs::perms::owner_write));

  const ControlAnswer status = ask_gateway(path, "status");
  CHECK(status.outcome == ControlAnswer::Outcome::answered);
  CHECK(status.text == "{}\n");
  CHECK(status.pid == ::getpid());
  CHECK(ask_gateway(path, "nonsense").text == "error: the requests are: status, unmount, stop, cache\n");
  CHECK(ask_gateway(path, std::string(40'000, 'x')).outcome == ControlAnswer::Outcome::silent);
  CHECK(stops == 0);
  CHECK_FALSE(EndRequest(path, "stop").is_busy());

  server.reset();
  CHECK(stops == 1);
  CHECK_FALSE(fs::exists(path));
  CHECK(ask_gateway(path, "status").outcome == ControlAnswer::Outcome::missing);
}

TEST_CASE("control: who asks for the end hears how it went", "[tools][control]") {
  const TemporaryDirectory directory;
  const std::string path = directory / "c.sock";
  auto server = serve(path);
  std::vector<EndRequest> requests;
  for (const char* way : {"stop", "unmount"}) requests.emplace_back(path, way);
  std::optional<Farewell> farewell = server->end();
  CHECK(ask_gateway(path, "status").outcome == ControlAnswer::Outcome::missing);
  SECTION("well") {
    farewell->ended();
    for (EndRequest& request : requests) CHECK(must_hear(request).empty());
  }
  SECTION("with complaints") {
    farewell->complain("one file");
    farewell->complain("another");
    farewell->ended();
    for (EndRequest& request : requests) CHECK(must_hear(request) == std::vector<std::string>{"one file", "another"});
  }
  SECTION("too early") {
    farewell->complain("one file");
    farewell.reset();
    for (EndRequest& request : requests) CHECK_FALSE(request.last_words());
  }
}

TEST_CASE("control: who asks for an end that has come hears nothing", "[tools][control]") {
  const TemporaryDirectory directory;
  EndRequest request(directory / "c.sock", "stop");
  CHECK_FALSE(request.is_busy());
  CHECK(must_hear(request).empty());
}

TEST_CASE("control: long work is answered line by line, beside other requests", "[tools][control]") {
  const TemporaryDirectory directory;
  const std::string path = directory / "c.sock";
  auto server = serve(path);
  const std::vector<std::string> words = {"warm", "a b%41/\n\x7f\xff", "."};
  std::vector<std::string> lines;
  CHECK(ask_for_cache_work(path, words, [&](std::string_view line) { lines.emplace_back(line); }));
  // The second word has a newline of its own.
  CHECK(lines == std::vector<std::string>{"word warm", "word a b%41/", "\x7f\xff", "word ."});

  std::atomic<int> mores = 0;
  std::thread endless([&] { ask_for_cache_work(path, {"endless"}, [&](std::string_view) { ++mores; }); });
  while (mores < 3) std::this_thread::yield();
  CHECK(ask_gateway(path, "status").text == "{}\n");
  server.reset();  // ends the work under way
  endless.join();
  CHECK_FALSE(ask_for_cache_work(path, {"warm"}, [](std::string_view) {}));
}

TEST_CASE("control: a gateway whose mount is in use stays", "[tools][control]") {
  const TemporaryDirectory directory;
  const std::string path = directory / "c.sock";
  int stops = 0, tries = 0;
  auto server = serve(
      path, [&] { stops++; },
      [&]() -> Result<void> {
        if (++tries == 1) return fail(EBUSY);
        return {};
      });
  CHECK(EndRequest(path, "unmount").is_busy());
  CHECK_FALSE(EndRequest(path, "unmount").is_busy());
  server.reset();
  CHECK(stops == 1);
}

TEST_CASE("control: what a killed gateway left is replaced, what lives is not", "[tools][control]") {
  const TemporaryDirectory directory;
  const std::string path = directory / "c.sock";
  leave_stale_socket(path);
  CHECK(ask_gateway(path, "status").outcome == ControlAnswer::Outcome::refused);
  const auto server = serve(path);
  const auto second = ControlServer::open(path, {});
  REQUIRE_FALSE(second);
  CHECK(second.error().line == "--control: another gateway listens at '" + path + "'; choose another path");

  std::ofstream(directory / "file") << "precious";
  CHECK_FALSE(ControlServer::open(directory / "file", {}));
  CHECK(fs::exists(directory / "file"));
  CHECK_FALSE(ControlServer::open(directory / std::string(200, 'x'), {}));
}

TEST_CASE("control: every gateway of a user is found, stale sockets go", "[tools][control]") {
  const TemporaryDirectory runtime;
  const ControlUser user{::geteuid() == 0 ? 12345 : ::geteuid(), runtime / ""};
  const std::string directory = control_directory(user);
  REQUIRE(make_control_directory(directory, ::geteuid()));
  ::chmod(directory.c_str(), 0700);
  if (::geteuid() == 0) REQUIRE(::chown(directory.c_str(), user.uid, 0) == 0);
  const auto first = serve(directory + "/1.sock");
  const auto second = serve(directory + "/2.sock");
  leave_stale_socket(directory + "/3.sock");
  fs::create_symlink("/nowhere", directory + "/4.sock");
  std::ofstream(directory + "/notes.txt") << "";

  CHECK(find_gateways(user).size() == 2);
  CHECK(fs::exists(fs::symlink_status(directory + "/3.sock")) ==
        (user.uid != ::geteuid()));  // only our own are ours to remove
  CHECK(fs::exists(fs::symlink_status(directory + "/4.sock")) == (user.uid != ::geteuid()));
  CHECK(fs::exists(directory + "/notes.txt"));

  ::chmod(directory.c_str(), 0777);
  CHECK(find_gateways(user).empty());
}

}  // namespace
}  // namespace sluice
