// Delayed writes of the whole store.
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <string>
#include <utility>

#include "cache/descriptor_limit.h"
#include "cache/log.h"
#include "fs/store/identity.h"
#include "fs/store/store_impl.h"

namespace sluice {
namespace {

constexpr uint32_t kFilesMin = 16;
constexpr uint64_t kDescriptorsPerFile = 3;
constexpr int kConflictNamesMax = 1000;
constexpr size_t kNameBytesMax = 255;

// Of the moment, as in a name.
std::string moment(std::chrono::nanoseconds now) {
  const time_t seconds = now.count() / 1'000'000'000;
  tm parts{};
  ::gmtime_r(&seconds, &parts);
  char text[32];
  ::strftime(text, sizeof(text), "%Y%m%dT%H%M%SZ", &parts);
  return text;
}

std::unique_ptr<DirtyRecord> open_dirty_record(const StoreOptions& options) {
  auto record = DirtyRecord::open(options.dirty_record);
  if (!record) {
    log(LogLevel::warning, "--state-dir: '{}': {}; after a crash the next start will not know how much was not written",
        options.dirty_record, error_text(record.error().number));
    return nullptr;
  }
  if (const uint64_t left = (*record)->left_bytes(); left > 0) {
    log(LogLevel::warning,
        "{}: the gateway that was here before ended without writing: up to {} bytes of delayed writes that nobody had "
        "made durable were lost",
        options.source, left);
  }
  return std::move(*record);
}

}  // namespace

Result<void> StoreImpl::start_write_back() {
  if (options_.dirty_max_bytes == 0 || options_.read_only) return {};
  // O_PATH will not do for syncfs(2).
  auto directory =
      std::make_shared<const UniqueFd>(::open(ProcPath(root_.fd()).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!*directory) return fail(errno);
  const uint64_t files = descriptor_limit() / 4 / kDescriptorsPerFile;
  WriteBackOptions options{.dirty_max_bytes = options_.dirty_max_bytes,
                           .expire = options_.dirty_expire,
                           .files_max = std::max(kFilesMin, static_cast<uint32_t>(std::min<uint64_t>(files, 16384))),
                           .patience = options_.dirty_patience,
                           .health = options_.health};
  if (!options_.dirty_record.empty()) dirty_record_ = open_dirty_record(options_);
  if (dirty_record_ != nullptr) options.totals = &dirty_record_->totals();
  const auto sync_all = [directory]() -> Result<void> {
    if (::syncfs(directory->get()) != 0) return fail(errno);
    return {};
  };
  write_back_ = std::make_unique<WriteBack>(options, context_.clock, sync_all);
  context_.write_back = write_back_.get();
  // Not where what is written goes to a new place, whatever was allocated.
  context_.reserves_space = root_.is_local() && !root_.may_buffer_direct_io();
  context_.keep_conflict = [this](InodeNumber number, const std::function<Result<void>(int)>& fill) {
    return keep_conflict(number, fill);
  };
  return {};
}

// What was to be written to a file that somebody else changed meanwhile goes into a file beside it, which belongs to
// the same owner.
Result<void> StoreImpl::keep_conflict(InodeNumber number, const std::function<Result<void>(int fd)>& fill) {
  const Subject file = TRY(subject(number));
  const Statx attributes = TRY(read_statx(file.get()));
  const auto place = table_.place_of(file.inode);
  const bool is_placed = place && place->parent != nullptr;
  const Subject directory = TRY(subject(is_placed ? place->parent->number : kRootInode));
  std::string base = is_placed ? place->name : "inode-" + std::to_string(attributes.stx_ino);
  const std::string ending = ".sluice-conflict-" + moment(context_.clock->realtime());
  base.resize(std::min(base.size(), kNameBytesMax - ending.size() - 4));
  UniqueFd made;
  std::string name;
  for (int i = 0; !made && i < kConflictNamesMax; ++i) {
    name = base + ending + (i == 0 ? "" : "-" + std::to_string(i));
    made =
        UniqueFd(::openat(directory.get(), name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
    if (!made && errno != EEXIST) return fail(errno);
  }
  if (!made) return fail(EEXIST);
  Result<void> filled = fill(made.get());
  if (!filled) {
    ::unlinkat(directory.get(), name.c_str(), 0);
    return filled;
  }
  if (::fchown(made.get(), attributes.stx_uid, attributes.stx_gid) != 0 ||
      ::fchmod(made.get(), attributes.stx_mode & 0777) != 0)
    log(LogLevel::warning, "{}: has neither the owner nor the rights of the file that it belongs to: {}", name,
        error_text(errno));
  metadata_.changes().count_all();
  const std::string path = is_placed ? table_.path_of(place->parent).value_or(".") : ".";
  log(LogLevel::warning,
      "{}/{} was changed by somebody else while delayed writes were on their way to it: these are in {}/{}", path,
      is_placed ? place->name : base, path, name);
  return {};
}

uint64_t StoreImpl::drop_dirty() {
  uint64_t bytes = 0;
  for (const InodeRef& inode : table_.with_data()) {
    const std::shared_ptr<FileData> data = table_.data(inode);
    if (!data->is_dirty() || !data->writing_fails()) continue;
    const uint64_t lost = data->drop_dirty();
    log(LogLevel::warning, "{}: {} delayed bytes that could not be written were dropped on demand",
        table_.path_of(inode).value_or("inode " + std::to_string(data->backing_stamp().ino)), lost);
    bytes += lost;
    tell_outside_change(inode->number);
  }
  return bytes;
}

}  // namespace sluice
