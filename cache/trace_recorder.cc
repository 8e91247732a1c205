#include "cache/trace_recorder.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <zstd.h>

#include <algorithm>
#include <cerrno>

#include "cache/assert.h"
#include "cache/log.h"

namespace sluice {
namespace {

constexpr std::chrono::seconds kWriteInterval{1};

}  // namespace

// Makes a zstd frame of whatever it is given.
struct TraceRecorder::Packer {
  Packer() : context(::ZSTD_createCCtx()) {
    ASSERT(context != nullptr);
    ::ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, 1);
  }
  ~Packer() { ::ZSTD_freeCCtx(context); }
  Packer(const Packer&) = delete;
  Packer& operator=(const Packer&) = delete;

  // Until the next call.
  std::string_view pack(std::string_view bytes) {
    room.resize(::ZSTD_compressBound(bytes.size()));
    const size_t size = ::ZSTD_compress2(context, room.data(), room.size(), bytes.data(), bytes.size());
    ASSERT(::ZSTD_isError(size) == 0);  // there is room enough
    return std::string_view(room).substr(0, size);
  }

  ZSTD_CCtx* const context;
  std::string room;
};

Result<std::unique_ptr<TraceRecorder>> TraceRecorder::open(const TraceRecorderOptions& options) {
  // O_NONBLOCK: a FIFO without a reader is refused, not waited for.
  constexpr int flags = O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
  UniqueFd fd(::open(options.path.c_str(), flags, 0600));
  if (!fd) return fail(errno == ENXIO ? EEXIST : errno);
  struct stat attributes {};
  if (::fstat(fd.get(), &attributes) != 0) return fail(errno);
  const bool usable = S_ISREG(attributes.st_mode) && attributes.st_size == 0 && attributes.st_uid == ::geteuid();
  if (!usable) return fail(EEXIST);
  return std::make_unique<TraceRecorder>(options, std::move(fd));
}

TraceRecorder::TraceRecorder(const TraceRecorderOptions& options, UniqueFd fd)
    : path_(options.path),
      fd_(std::move(fd)),
      lanes_({.records_per_second_max = options.records_per_second_max, .clock = options.clock}),
      packer_(std::make_unique<Packer>()) {
  collected_.reserve(TraceLanes::kLanes * size_t{TraceLanesOptions().lane_records_max});
  writer_ = std::thread([this] { run(); });
}

TraceRecorder::~TraceRecorder() {
  {
    MutexLock lock(&mutex_);
    stopping_ = true;
  }
  asked_to_write_.notify_one();
  writer_.join();
}

void TraceRecorder::record(TraceOp op, uint64_t file, uint32_t generation, PageRange pages) {
  if (error_.load(std::memory_order_relaxed) != 0) return;
  while (!pages.empty()) {
    const uint64_t count = std::min<uint64_t>(pages.count, kTraceRecordPagesMax);
    const bool is_half_full = lanes_.record({.file = file,
                                             .first_page = pages.first,
                                             .generation = generation,
                                             .pages = static_cast<uint16_t>(count),
                                             .op = op});
    if (is_half_full) ask_to_write();
    pages = {pages.first + count, pages.count - count};
  }
}

// Returns which request this is, for `answered_`.
uint64_t TraceRecorder::ask_to_write() {
  uint64_t asked = 0;
  {
    MutexLock lock(&mutex_);
    asked = ++asked_;
  }
  asked_to_write_.notify_one();
  return asked;
}

void TraceRecorder::flush() {
  const uint64_t asked = ask_to_write();
  MutexLock lock(&mutex_);
  while (answered_ < asked) written_.wait(mutex_);
}

TraceRecorderStats TraceRecorder::stats() const {
  return {.records = records_, .written_bytes = written_bytes_, .dropped = lanes_.dropped(), .error = error_};
}

// ---- the writer ----

void TraceRecorder::run() {
  for (bool last = false; !last;) {
    uint64_t asked = 0;
    {
      MutexLock lock(&mutex_);
      // Woken too early it writes what there is.
      if (!stopping_ && asked_ == answered_) asked_to_write_.wait_for(mutex_, kWriteInterval);
      last = stopping_;
      asked = asked_;
    }
    write_collected();
    {
      MutexLock lock(&mutex_);
      answered_ = asked;
    }
    written_.notify_all();
  }
}

void TraceRecorder::write_collected() {
  collected_.clear();
  lanes_.collect(collected_);
  const TraceDrops dropped = lanes_.dropped();
  std::span<const TraceRecord> records(collected_);
  while (error_ == 0 && (!records.empty() || dropped != dropped_in_file_)) {
    const size_t count = std::min(records.size(), kTraceBlockRecordsMax);
    write_block(records.first(count), dropped);
    records = records.subspan(count);
  }
}

void TraceRecorder::write_block(std::span<const TraceRecord> records, const TraceDrops& dropped) {
  if (written_bytes_ == 0) write_packed(encode_trace_head());
  write_packed(encode_trace_block(records, dropped));
  dropped_in_file_ = dropped;
  if (error_ == 0) records_ += records.size();
}

void TraceRecorder::write_packed(std::string_view bytes) {
  if (error_ != 0) return;
  std::string_view left = packer_->pack(bytes);
  while (!left.empty()) {
    const ssize_t written = ::write(fd_.get(), left.data(), left.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) {
      error_ = errno;
      log(LogLevel::warning, "--trace-out: cannot write '{}': {}; recording has ended", path_, error_text(error_));
      return;
    }
    left.remove_prefix(static_cast<size_t>(written));
    written_bytes_ += static_cast<uint64_t>(written);
  }
}

}  // namespace sluice
