#include "cache/trace_recorder.h"

#include <sys/resource.h>
#include <sys/stat.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <thread>
#include <vector>

#include "tests/support/catch.h"
#include "tests/support/temporary_directory.h"

namespace sluice {
namespace {

int error_of(const std::string& path) {
  const auto recorder = TraceRecorder::open({.path = path});
  return recorder ? 0 : recorder.error().number;
}
mode_t mode_of(const std::string& path) {
  struct stat attributes {};
  REQUIRE(::stat(path.c_str(), &attributes) == 0);
  return attributes.st_mode & 07777;
}

TEST_CASE("trace recorder: the file is for its owner only, and empty until something is recorded", "[cache][trace]") {
  const TemporaryDirectory directory;
  const std::string path = directory / "trace";
  { const auto recorder = *TraceRecorder::open({.path = path}); }
  CHECK(mode_of(path) == 0600);
  CHECK(std::filesystem::file_size(path) == 0);
  {
    const auto recorder = *TraceRecorder::open({.path = path});
    recorder->record(TraceOp::read, 1, 1, {0, 1});
    recorder->flush();
    CHECK(recorder->stats().records == 1);
    CHECK(recorder->stats().written_bytes == std::filesystem::file_size(path));
  }
  CHECK(error_of(path) == EEXIST);
}

TEST_CASE("trace recorder: what is no empty file of ours is refused", "[cache][trace]") {
  const TemporaryDirectory directory;
  std::ofstream(directory / "full") << "x";
  std::ofstream(directory / "empty").flush();
  std::filesystem::create_symlink("empty", directory / "link");
  REQUIRE(::mkfifo((directory / "fifo").c_str(), 0600) == 0);
  CHECK(error_of(directory / "full") == EEXIST);
  CHECK(error_of(directory / "link") == ELOOP);
  CHECK(error_of(directory / "fifo") == EEXIST);
  CHECK(error_of("/dev/null") == EEXIST);
  CHECK(error_of(directory.path()) == EISDIR);
  CHECK(error_of(directory / "missing/trace") == ENOENT);
  CHECK(std::filesystem::file_size(directory / "full") == 1);
}

TEST_CASE("trace recorder: threads record at once, and all of it is written", "[cache][trace][threads]") {
  const TemporaryDirectory directory;
  const auto recorder = *TraceRecorder::open({.path = directory / "trace", .records_per_second_max = 0});
  std::vector<std::thread> threads;
  for (uint64_t file = 0; file < 20; file++) {
    threads.emplace_back([&recorder, file] {
      for (uint64_t page = 0; page < 20'000; page++) recorder->record(TraceOp::read, file, 1, {page, 1});
    });
  }
  for (std::thread& thread : threads) thread.join();
  recorder->flush();
  const TraceRecorderStats stats = recorder->stats();
  CHECK(stats.records + stats.dropped.memory == 20 * 20'000);
  CHECK(stats.dropped.rate == 0);
  CHECK(stats.error == 0);
}

TEST_CASE("trace recorder: a file that cannot grow ends the recording, nothing else", "[cache][trace]") {
  const TemporaryDirectory directory;
  const auto recorder = *TraceRecorder::open({.path = directory / "trace"});
  ::signal(SIGXFSZ, SIG_IGN);
  rlimit before{};
  REQUIRE(::getrlimit(RLIMIT_FSIZE, &before) == 0);
  const rlimit little{.rlim_cur = 100, .rlim_max = before.rlim_max};
  REQUIRE(::setrlimit(RLIMIT_FSIZE, &little) == 0);
  for (uint64_t i = 0; i < 1000; i++) recorder->record(TraceOp::read, i * i * 7919, 1, {i * i, 1});
  recorder->flush();
  const TraceRecorderStats stats = recorder->stats();
  recorder->record(TraceOp::read, 1, 1, {0, 1});
  recorder->flush();
  REQUIRE(::setrlimit(RLIMIT_FSIZE, &before) == 0);
  CHECK(stats.error == EFBIG);
  CHECK(stats.records == 0);
  CHECK(recorder->stats().written_bytes == 100);
}

}  // namespace
}  // namespace sluice
