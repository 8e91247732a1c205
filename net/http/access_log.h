// AccessLog writes a line for each answered request, in the combined format of Apache and nginx.
//
//   who answers   appends the line to a buffer and goes on. When the buffer is full the line is dropped, and counted.
//   the writer    a thread that writes the buffer a tenth of a second after its first line came, or when it is half
//                 full. It reopens the file when it is asked, for who rotates logs.
//   errors        a line that cannot be written is dropped; the first of a row of errors is told in the log.
//
// Bytes that clients choose are escaped as nginx does it: '"', '\', and what is not printable ASCII, as \xXX.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <thread>

#include "cache/mutex.h"
#include "cache/result.h"
#include "cache/unique_fd.h"
#include "net/peer_address.h"

namespace sluice {

struct AccessRecord {
  PeerAddress peer;
  std::chrono::nanoseconds time{};  // since 1970
  std::string_view request_line = {};
  unsigned status = 0;
  uint64_t body_bytes = 0;  // handed to the socket
  std::string_view referer = {};
  std::string_view user_agent = {};
};
std::string format_access(const AccessRecord& record);  // with its newline

struct AccessLogStats {
  uint64_t lines = 0;  // written
  uint64_t dropped = 0;
};

// Thread-safe.
class AccessLog {
 public:
  // Appends to the file, which it makes if need be; "-" is the standard output. Errors: those of open(2).
  static Result<std::unique_ptr<AccessLog>> open(const std::string& path);
  explicit AccessLog(std::string path, UniqueFd fd);
  ~AccessLog();  // writes what is left; gives up on a reader that takes nothing for a second
  AccessLog(const AccessLog&) = delete;
  AccessLog& operator=(const AccessLog&) = delete;

  void write(const AccessRecord& record);  // never waits for the file
  void reopen();                           // soon, and before lines that are written from now on
  bool is_file() const { return path_ != "-"; }
  AccessLogStats stats() const;

 private:
  void run();
  bool next_batch(std::string& batch);
  void reopen_now();
  void write_batch(std::string_view batch);
  int write_some(std::string_view& rest) const;

  const std::string path_;
  UniqueFd fd_;           // of the writer
  bool failing_ = false;  // the same
  std::atomic<uint64_t> lines_{0};
  std::atomic<uint64_t> dropped_{0};
  std::atomic<bool> ending_{false};
  Mutex mutex_;  // Leaf lock.
  CondVar changed_;
  std::string buffer_ GUARDED_BY(mutex_);
  bool reopen_ GUARDED_BY(mutex_) = false;
  std::thread writer_;  // last: it uses all the others
};

}  // namespace sluice
