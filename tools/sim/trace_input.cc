#include "tools/sim/trace_input.h"

#include <fcntl.h>
#include <lzma.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string_view>
#include <vector>

#include "cache/log.h"
#include "cache/result.h"
#include "cache/unique_fd.h"

namespace sluice {
namespace {

using namespace std::string_view_literals;

constexpr size_t kChunkBytes = size_t{256} << 10;

// The file as it is, with a look ahead at its first bytes.
class PackedBytes {
 public:
  PackedBytes(std::string name, UniqueFd fd) : name_(std::move(name)), fd_(std::move(fd)), chunk_(kChunkBytes) {}

  const std::string& name() const { return name_; }
  std::span<const char> available() const { return available_; }
  void take(size_t bytes) { available_ = available_.subspan(bytes); }

  // Reads more when nothing is available; nothing then is the end.
  Checked<> fill() {
    if (!available_.empty()) return {};
    return fill_to(1);
  }
  Checked<> fill_to(size_t least) {
    size_t filled = 0;
    while (filled < least) {
      const ssize_t got = ::read(fd_.get(), chunk_.data() + filled, chunk_.size() - filled);
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) return complain("cannot read '{}': {}; give a file that holds a trace", name_, error_text(errno));
      if (got == 0) break;
      filled += static_cast<size_t>(got);
    }
    available_ = std::span(chunk_).first(filled);
    return {};
  }

  tl::unexpected<Complaint> damaged(std::string_view packing) const {
    return complain("'{}' is damaged or cut short: its {} data cannot be unpacked; get a whole copy", name_, packing);
  }

 private:
  std::string name_;
  UniqueFd fd_;
  std::vector<char> chunk_;
  std::span<const char> available_;  // of the chunk, which stays where it is when this is moved
};

class PlainInput final : public TraceInput {
 public:
  explicit PlainInput(PackedBytes packed) : packed_(std::move(packed)) {}

  Checked<size_t> read(std::span<char> room) override {
    TRY(packed_.fill());
    const size_t bytes = std::min(room.size(), packed_.available().size());
    std::memcpy(room.data(), packed_.available().data(), bytes);
    packed_.take(bytes);
    return bytes;
  }

 private:
  PackedBytes packed_;
};

class GzipInput final : public TraceInput {
 public:
  explicit GzipInput(PackedBytes packed) : packed_(std::move(packed)) {
    ::inflateInit2(&stream_, 16 + MAX_WBITS);  // 16: gzip
  }
  ~GzipInput() override { ::inflateEnd(&stream_); }

  Checked<size_t> read(std::span<char> room) override {
    stream_.next_out = reinterpret_cast<Bytef*>(room.data());
    stream_.avail_out = static_cast<uInt>(room.size());
    while (stream_.avail_out == room.size()) {
      TRY(packed_.fill());
      const std::span<const char> input = packed_.available();
      if (input.empty() && between_members_) return 0;
      if (input.empty()) return packed_.damaged("gzip");
      if (between_members_) ::inflateReset(&stream_);
      stream_.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(input.data()));
      stream_.avail_in = static_cast<uInt>(input.size());
      const int outcome = ::inflate(&stream_, Z_NO_FLUSH);
      packed_.take(input.size() - stream_.avail_in);
      between_members_ = outcome == Z_STREAM_END;
      if (outcome != Z_OK && outcome != Z_STREAM_END) return packed_.damaged("gzip");
    }
    return room.size() - stream_.avail_out;
  }

 private:
  PackedBytes packed_;
  z_stream stream_{};
  bool between_members_ = false;
};

class XzInput final : public TraceInput {
 public:
  explicit XzInput(PackedBytes packed) : packed_(std::move(packed)) {
    failed_ = ::lzma_stream_decoder(&stream_, UINT64_MAX, LZMA_CONCATENATED) != LZMA_OK;
  }
  ~XzInput() override { ::lzma_end(&stream_); }

  Checked<size_t> read(std::span<char> room) override {
    if (failed_) return packed_.damaged("xz");
    stream_.next_out = reinterpret_cast<uint8_t*>(room.data());
    stream_.avail_out = room.size();
    while (stream_.avail_out == room.size() && !ended_) {
      TRY(packed_.fill());
      const std::span<const char> input = packed_.available();
      stream_.next_in = reinterpret_cast<const uint8_t*>(input.data());
      stream_.avail_in = input.size();
      const lzma_ret outcome = ::lzma_code(&stream_, input.empty() ? LZMA_FINISH : LZMA_RUN);
      packed_.take(input.size() - stream_.avail_in);
      ended_ = outcome == LZMA_STREAM_END;
      if (outcome != LZMA_OK && outcome != LZMA_STREAM_END) return packed_.damaged("xz");
    }
    return room.size() - stream_.avail_out;
  }

 private:
  PackedBytes packed_;
  lzma_stream stream_ = LZMA_STREAM_INIT;
  bool failed_ = false;
  bool ended_ = false;
};

class ZstdInput final : public TraceInput {
 public:
  ZstdInput(PackedBytes packed, const TraceInputOptions& options)
      : packed_(std::move(packed)), options_(options), stream_(::ZSTD_createDStream()) {
    // Long windows (zstd --long=31) too.
    ::ZSTD_DCtx_setParameter(stream_, ZSTD_d_windowLogMax, ::ZSTD_dParam_getBounds(ZSTD_d_windowLogMax).upperBound);
  }
  ~ZstdInput() override { ::ZSTD_freeDStream(stream_); }

  Checked<size_t> read(std::span<char> room) override {
    ZSTD_outBuffer output{room.data(), room.size(), 0};
    while (output.pos == 0) {
      TRY(packed_.fill());
      ZSTD_inBuffer input{packed_.available().data(), packed_.available().size(), 0};
      if (input.size == 0 && (between_frames_ || is_torn_)) return 0;
      const size_t wanted = ::ZSTD_decompressStream(stream_, &output, &input);
      packed_.take(input.pos);
      between_frames_ = wanted == 0;
      if (::ZSTD_isError(wanted) != 0) return packed_.damaged("zstd");
      is_torn_ = input.size == 0 && output.pos == 0;
      if (is_torn_ && !options_.may_be_torn) return packed_.damaged("zstd");
    }
    return output.pos;
  }
  bool is_torn() const override { return is_torn_; }

 private:
  PackedBytes packed_;
  const TraceInputOptions options_;
  ZSTD_DStream* const stream_;
  bool between_frames_ = false;
  bool is_torn_ = false;
};

Checked<UniqueFd> open_file(const std::string& path) {
  if (path == "-") return UniqueFd(::fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 0));
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY));
  if (!fd) return complain("cannot read '{}': {}; give a file that holds a trace", path, error_text(errno));
  ::posix_fadvise(fd.get(), 0, 0, POSIX_FADV_SEQUENTIAL);
  return fd;
}

}  // namespace

Checked<std::unique_ptr<TraceInput>> open_trace(const std::string& path, const TraceInputOptions& options) {
  PackedBytes packed(path == "-" ? "standard input" : path, TRY(open_file(path)));
  TRY(packed.fill_to(6));
  const std::string_view start(packed.available().data(), std::min<size_t>(6, packed.available().size()));
  if (start.starts_with("\x1f\x8b"sv)) return std::make_unique<GzipInput>(std::move(packed));
  if (start.starts_with("\xfd"
                        "7zXZ\0"sv))
    return std::make_unique<XzInput>(std::move(packed));
  if (start.starts_with("\x28\xb5\x2f\xfd"sv)) return std::make_unique<ZstdInput>(std::move(packed), options);
  return std::make_unique<PlainInput>(std::move(packed));
}

}  // namespace sluice
