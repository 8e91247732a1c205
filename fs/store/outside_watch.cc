#include "fs/store/outside_watch.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/fanotify.h>
#include <unistd.h>

#include <algorithm>
#include <string>

#include "cache/log.h"
#include "fs/store/path.h"

// Since Linux 5.17; Debian 12's headers have them.
#ifndef FAN_REPORT_TARGET_FID
#define FAN_REPORT_TARGET_FID 0x00001000
#endif

namespace sluice {
namespace {

constexpr unsigned kReports =
    FAN_REPORT_FID | FAN_REPORT_DIR_FID | FAN_REPORT_NAME | FAN_REPORT_TARGET_FID | FAN_CLASS_NOTIF;
// FAN_CLOSE_WRITE for who wrote through a mapping.
constexpr uint64_t kWatched = FAN_MODIFY | FAN_CLOSE_WRITE | FAN_ATTRIB | FAN_CREATE | FAN_DELETE | FAN_MOVED_FROM |
                              FAN_MOVED_TO | FAN_DELETE_SELF | FAN_MOVE_SELF | FAN_ONDIR;
constexpr size_t kBufferSize = 65536;
constexpr int kRestMilliseconds = 1;
constexpr size_t kEventSizeMax = 1024;  // a name and three handles: below 800

// One information record behind an event's head.
struct Record {
  FileHandle handle;
  std::string_view name;
};

// `record` is as the kernel wrote it: header, file system id, handle, and for some a name that ends with NUL.
Record parse(const fanotify_event_info_fid* record) {
  const auto* handle = reinterpret_cast<const struct ::file_handle*>(record->handle);
  Record parsed{FileHandle::of(*handle), {}};
  const auto* end = reinterpret_cast<const char*>(record) + record->hdr.len;
  const auto* name = reinterpret_cast<const char*>(handle->f_handle) + handle->handle_bytes;
  if (name < end) parsed.name = {name, ::strnlen(name, static_cast<size_t>(end - name))};
  return parsed;
}

OutsideEvent parse(const fanotify_event_metadata& head) {
  OutsideEvent event{.mask = head.mask, .object = {}, .directory = {}, .name = {}};
  const auto* at = reinterpret_cast<const char*>(&head) + head.metadata_len;
  const auto* const end = reinterpret_cast<const char*>(&head) + head.event_len;
  while (at < end) {
    const auto* record = reinterpret_cast<const fanotify_event_info_fid*>(at);
    Record parsed = parse(record);
    if (record->hdr.info_type == FAN_EVENT_INFO_TYPE_FID) event.object = std::move(parsed.handle);
    if (record->hdr.info_type == FAN_EVENT_INFO_TYPE_DFID_NAME) {
      event.directory = std::move(parsed.handle);
      event.name = parsed.name;
    }
    at += record->hdr.len;
  }
  if (event.name == ".") {  // a directory itself
    event.object = std::move(event.directory);
    event.directory = {};
    event.name = {};
  }
  return event;
}

}  // namespace

Result<std::unique_ptr<OutsideWatch>> OutsideWatch::create(int fd, bool with_self, Listener* listener) {
  UniqueFd queue(::fanotify_init(kReports | FAN_CLOEXEC | FAN_NONBLOCK, 0));
  if (!queue) return fail(errno);
  if (::fanotify_mark(queue.get(), FAN_MARK_ADD | FAN_MARK_FILESYSTEM, kWatched, AT_FDCWD, ProcPath(fd).c_str()) != 0)
    return fail(errno);
  UniqueFd wake(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wake) return fail(errno);
  return std::unique_ptr<OutsideWatch>(new OutsideWatch(std::move(queue), std::move(wake), with_self, listener));
}

OutsideWatch::OutsideWatch(UniqueFd queue, UniqueFd wake, bool with_self, Listener* listener)
    : queue_(std::move(queue)),
      wake_(std::move(wake)),
      with_self_(with_self),
      listener_(*listener),
      buffer_(kBufferSize) {}

OutsideWatch::~OutsideWatch() {
  stopping_ = true;
  ::eventfd_write(wake_.get(), 1);
  if (thread_.joinable()) thread_.join();
}

void OutsideWatch::start() {
  thread_ = std::thread([this] { work(); });
}

void OutsideWatch::work() {
  pollfd ready[2] = {{queue_.get(), POLLIN, 0}, {wake_.get(), POLLIN, 0}};
  while (!stopping_) {
    if (::poll(ready, 2, -1) < 0 && errno != EINTR) {
      log(LogLevel::error, "poll: {}: changes by others are no longer told at once", error_text(errno));
      return;
    }
    eventfd_t count;
    ::eventfd_read(wake_.get(), &count);
    const bool told = drain();
    listener_.settle();
    if (!told) rest();
  }
}

// What woke it was its own process, which goes on writing as a rule. Meanwhile the kernel wakes nobody for each event,
// a tenth of the CPU that small writes take; who has to know catches up.
void OutsideWatch::rest() {
  pollfd woken{wake_.get(), POLLIN, 0};
  ::poll(&woken, 1, kRestMilliseconds);
}

void OutsideWatch::catch_up() {
  if (drain()) ::eventfd_write(wake_.get(), 1);
}

bool OutsideWatch::drain() {
  bool told = false;
  MutexLock lock(&mutex_);
  for (;;) {
    const ssize_t length = ::read(queue_.get(), buffer_.data(), buffer_.size());
    if (length <= 0) return told;  // EAGAIN: nothing more
    told |= tell(buffer_.data(), static_cast<size_t>(length));
    if (static_cast<size_t>(length) + kEventSizeMax < buffer_.size()) return told;  // there was no more
  }
}

// Events follow each other at multiples of 4 bytes, which is too little for their members of 8: each is copied.
bool OutsideWatch::tell(const char* events, size_t length) {
  bool told = false;
  const pid_t self = ::getpid();
  alignas(fanotify_event_metadata) char event[kEventSizeMax];
  const auto& head = *reinterpret_cast<const fanotify_event_metadata*>(event);
  for (size_t size = 0; length >= sizeof head; events += size, length -= size) {
    ::memcpy(event, events, sizeof head);
    size = head.event_len;
    const bool is_whole = size >= sizeof head && size <= std::min(length, sizeof event);
    if (!is_whole || (head.mask & FAN_Q_OVERFLOW) != 0) {
      losses_.fetch_add(1, std::memory_order_relaxed);
      listener_.on_loss();
      told = true;
      if (!is_whole) return told;
      continue;
    }
    if (head.pid == self && !with_self_) continue;
    ::memcpy(event, events, size);
    events_.fetch_add(1, std::memory_order_relaxed);
    listener_.on_event(parse(head));
    told = true;
  }
  return told;
}

}  // namespace sluice
