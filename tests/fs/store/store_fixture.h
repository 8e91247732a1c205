// A real directory with a store on it, for tests of fs/store. Rounds of housekeeping run when the test says so.
#pragma once

#include <fcntl.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <future>
#include <memory>
#include <string>
#include <system_error>
#include <thread>

#include "cache/block_cache.h"
#include "cache/disk.h"
#include "fs/store/store_impl.h"
#include "tests/support/catch.h"
#include "tests/support/temporary_directory.h"

namespace sluice {

inline const Caller kRootUser{};
inline Caller user(uid_t uid, mode_t umask = 022) {
  return {uid, static_cast<gid_t>(uid), {}, umask};
}

inline void write_file(const std::string& path, std::string_view content = "") {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << content;
}

inline std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

inline struct stat stat_of(const std::string& path) {
  struct stat attributes {};
  REQUIRE(::lstat(path.c_str(), &attributes) == 0);
  return attributes;
}

// The value, or a failed test that shows the errno.
template <typename T>
T must(Result<T> result) {
  if (!result) FAIL("unexpected errno " << result.error().number << " " << strerrorname_np(result.error().number));
  if constexpr (!std::is_void_v<T>) return std::move(*result);
}

// The errno by name, "OK" for none.
template <typename T>
std::string outcome(const Result<T>& result) {
  return result ? "OK" : strerrorname_np(result.error().number);
}

// All ways to find files again, and to know of them without looking. Names tests' sections.
struct Mode {
  const char* name;
  bool clone_mount;
  bool file_handles;
  bool watch = false;
};
inline const Mode kModes[] = {{"by handle", true, true},
                              {"by place", true, false},
                              {"by place, no clone", false, false},
                              {"by handle, watched", true, true, true}};

// Everything that was seen once is believed until it changes.
inline StoreOptions with_long_memory(StoreOptions options) {
  options.attr_timeout = options.entry_timeout = options.negative_timeout = std::chrono::hours(1);
  options.metadata_cache_bytes = uint64_t{16} << 20;
  return options;
}

// A test that changes what all of a process share (limits, mounts, users) runs in a child and returns whether all is
// well: Catch's own macros say nothing there.
inline bool holds_in_child(const std::function<bool()>& test) {
  std::fflush(stdout);
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    bool holds = false;
    try {
      holds = test();
    } catch (...) {  // a REQUIRE
    }
    ::_exit(holds ? 0 : 1);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}
#define EXPECT_OR_RETURN(condition)                                                       \
  do {                                                                                    \
    if (!(condition)) {                                                                   \
      std::fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #condition); \
      return false;                                                                       \
    }                                                                                     \
  } while (false)

// Whether this process has a file of that name open; a name that is gone ends with " (deleted)".
inline bool is_held(const std::string& name) {
  return std::ranges::any_of(std::filesystem::directory_iterator("/proc/self/fd"), [&](const auto& descriptor) {
    std::error_code gone;
    return std::filesystem::read_symlink(descriptor, gone).filename() == name;
  });
}

// The system's clock, and time that the test lets pass.
class ShiftedClock final : public Clock {
 public:
  std::chrono::nanoseconds monotonic() const override { return system_clock().monotonic() + shift_.load(); }
  std::chrono::nanoseconds realtime() const override { return system_clock().realtime() + shift_.load(); }
  void advance(std::chrono::nanoseconds by) { shift_ = shift_.load() + by; }

 private:
  std::atomic<std::chrono::nanoseconds> shift_{};
};

class StoreFixture {
 public:
  explicit StoreFixture(const Mode& mode = kModes[0], StoreOptions options = {})
      : cache(must(BlockCache::create({.size_bytes = uint64_t{16} << 20}))), disk(open_disk({})) {
    options.clone_mount = mode.clone_mount;
    options.file_handles = mode.file_handles;
    if (mode.watch) {
      options = with_long_memory(options);
      options.watch = options.watch_self = true;
    }
    start(options);
  }

  // Opens the store, again if it was open.
  void start(StoreOptions options) {
    store.reset();
    options.source = directory.path();
    store = must(StoreImpl::open(options, cache.get(), disk.get(), &clock));
  }

  std::string operator/(const std::string& name) const { return directory / name; }
  StoreImpl* operator->() const { return store.get(); }

  InodeNumber number(std::string_view name, InodeNumber parent = kRootInode) {
    return must(store->lookup(parent, name)).number;
  }
  void housekeep(int rounds) {
    for (; rounds > 0; --rounds) store->housekeep();
  }
  // Rounds of housekeeping until the condition holds: a thread of the disk may still hold what it just completed.
  bool housekeep_until(const std::function<bool()>& condition) {
    for (int rounds_left = 100'000; rounds_left > 0; --rounds_left) {
      store->housekeep();
      if (condition()) return true;
      std::this_thread::yield();
    }
    return false;
  }

  TemporaryDirectory directory;
  ShiftedClock clock;
  std::unique_ptr<BlockCache> cache;
  std::unique_ptr<StoreImpl> store;
  std::unique_ptr<Disk> disk;  // goes first: completions still under way refer to the store and the cache
};

inline std::string bytes_of(const FileSlice& slice) {
  std::vector<iovec> parts;
  slice.pages.append_iovecs(slice.skip, slice.length, parts);
  std::string bytes;
  for (const iovec& part : parts) bytes.append(static_cast<const char*>(part.iov_base), part.iov_len);
  return bytes;
}

inline Result<std::string> read_all(OpenFile& file, uint64_t offset = 0, uint64_t length = 1 << 20) {
  std::promise<Result<std::string>> promise;
  file.read(offset, length, [&](Result<FileSlice> slice) {
    if (!slice) return promise.set_value(fail(slice.error().number));
    promise.set_value(bytes_of(*slice));
  });
  return promise.get_future().get();
}

inline Result<size_t> write_all(OpenFile& file, uint64_t offset, std::string_view bytes) {
  std::promise<Result<size_t>> promise;
  const WriteOptions options{.append = (file.flags() & O_APPEND) != 0};
  file.data().write(offset, bytes, options, [&](Result<size_t> written) { promise.set_value(written); });
  return promise.get_future().get();
}

}  // namespace sluice
