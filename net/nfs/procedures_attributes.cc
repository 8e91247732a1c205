// RFC 1813 3.3.1, 3.3.2, 3.3.4, 3.3.18 to 3.3.20.
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>

#include "net/nfs/service.h"

namespace sluice {
namespace {

// Bits of ACCESS.
constexpr uint32_t kRead = 0x01;
constexpr uint32_t kLookup = 0x02;
constexpr uint32_t kModify = 0x04;
constexpr uint32_t kExtend = 0x08;
constexpr uint32_t kDelete = 0x10;
constexpr uint32_t kExecute = 0x20;

// Of FSINFO.
constexpr uint32_t kHasLinks = 0x01;
constexpr uint32_t kHasSymbolicLinks = 0x02;
constexpr uint32_t kIsHomogeneous = 0x08;
constexpr uint32_t kCanSetTimes = 0x10;

struct AccessBits {
  int mode;  // of access(2)
  uint32_t bits;
};
// Names are reached only by who may search the directory.
constexpr AccessBits kDirectoryBits[] = {{R_OK, kRead}, {W_OK | X_OK, kModify | kExtend | kDelete}, {X_OK, kLookup}};
constexpr AccessBits kFileBits[] = {{R_OK, kRead}, {W_OK, kModify | kExtend}, {X_OK, kExecute}};

bool same_time(const timespec& a, const timespec& b) {
  return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

bool is_now(const std::optional<timespec>& time) {
  return time && time->tv_nsec == UTIME_NOW;
}

// One of the times becomes now, and nothing else changes.
bool is_touch_of_one(const SetAttributes& changes) {
  const bool has_others = changes.mode || changes.uid || changes.gid || changes.size;
  return !has_others && (changes.atime ? is_now(changes.atime) && !changes.mtime : is_now(changes.mtime));
}

}  // namespace

bool NfsService::try_run(NfsProcedure procedure, NfsCall& call) {
  if (procedure != NfsProcedure::getattr || call.options == nullptr) return false;
  XdrReader arguments = call.arguments;
  const NfsFileRef file = files_.find(arguments.opaque(kNfsHandleMax));
  if (file == nullptr) return false;
  const auto attributes = store_.known_getattr(file->number());
  if (!attributes || attributes->values.st_nlink == 0) return false;
  succeed(call);
  write_attributes(call.reply, attributes->values, fsid_);
  return true;
}

void NfsService::getattr(NfsCall& call) {
  const auto file = file_of(call, call.arguments.opaque(kNfsHandleMax));
  if (!file) return fail(call, NfsProcedure::getattr, file.error());
  const auto attributes = ask_attributes(*file);
  if (!attributes) return fail(call, NfsProcedure::getattr, attributes.error());
  succeed(call);
  write_attributes(call.reply, *attributes, fsid_);
}

void NfsService::setattr(NfsCall& call) {
  const std::string_view handle = call.arguments.opaque(kNfsHandleMax);
  const SetAttributes changes = read_set_attributes(call.arguments);
  std::optional<timespec> guard;
  if (call.arguments.boolean()) guard = read_time(call.arguments);
  const auto file = file_of(call, handle);
  if (!file) return fail(call, NfsProcedure::setattr, file.error());
  Observed observed;
  const auto changed = change_file(call, *file, observed, [&](const struct stat& before) -> NfsResult<> {
    if (guard && !same_time(before.st_ctim, *guard)) return nfs_fail(NfsStatus::not_sync);
    return change_attributes(call, **file, before.st_mode, changes);
  });
  call.announcements.push_back({(*file)->number(), {}});
  call.reply.u32(static_cast<uint32_t>(changed ? NfsStatus::ok : changed.error()));
  write_wcc(call, observed);
}

NfsResult<> NfsService::change_attributes(NfsCall& call, const NfsFile& file, mode_t mode, SetAttributes changes) {
  if (changes.size) {
    if (!S_ISREG(mode)) return nfs_fail(S_ISDIR(mode) ? NfsStatus::isdir : NfsStatus::inval);
    if (const auto permitted = permit_data(call, file, W_OK); !permitted) return permitted;
    if (const auto resized = resize(call, file.number(), *changes.size); !resized) return resized;
    changes.size.reset();
  }
  auto changed = store_.setattr(*call.caller, file.number(), changes);
  // Linux asks for this with every O_TRUNC. It takes no more than a write does, but by utimensat(2) only the owner may:
  // who may write may set both times to now, or none.
  if (!changed && changed.error().number == EPERM && is_touch_of_one(changes) && permit(call, file, W_OK))
    changed = store_.setattr(Caller{}, file.number(), changes);
  if (!changed) return nfs_fail(nfs_status_of(changed.error().number));
  return sync_attributes(call, file.number(), changed->values.st_mode);
}

NfsResult<> NfsService::resize(const NfsCall& call, InodeNumber number, uint64_t size) {
  if (size > INT64_MAX) return nfs_fail(NfsStatus::fbig);
  const auto change = files_.begin_change(number);
  if (!change) return nfs_fail(nfs_status_of(change.error().number));
  const auto resized = change->data().truncate(size, set_id_bits_after_change_by(call.caller->uid));
  if (!resized) return nfs_fail(nfs_status_of(resized.error().number));
  return {};
}

// A link cannot be opened for fsync(2), and a device has a driver behind it.
NfsResult<> NfsService::sync_attributes(const NfsCall& call, InodeNumber number, mode_t mode) {
  if (!call.options->sync) return {};
  const auto synced = S_ISREG(mode) || S_ISDIR(mode) ? store_.sync(number) : store_.sync_file_system();
  if (!synced) return nfs_fail(nfs_status_of(synced.error().number));
  return {};
}

void NfsService::access(NfsCall& call) {
  const std::string_view handle = call.arguments.opaque(kNfsHandleMax);
  const uint32_t wanted = call.arguments.u32();
  const auto file = file_of(call, handle);
  if (!file) return fail(call, NfsProcedure::access, file.error());
  const auto attributes = ask_attributes(*file);
  if (!attributes) return fail(call, NfsProcedure::access, attributes.error());
  uint32_t granted = 0;
  for (const AccessBits& each : S_ISDIR(attributes->st_mode) ? kDirectoryBits : kFileBits) {
    if ((wanted & each.bits) == 0 || ((each.mode & W_OK) != 0 && call.options->read_only)) continue;
    if (permit(call, **file, each.mode)) granted |= wanted & each.bits;
  }
  succeed(call);
  write_post(call, *attributes);
  call.reply.u32(granted);
}

void NfsService::fsstat(NfsCall& call) {
  const auto file = file_of(call, call.arguments.opaque(kNfsHandleMax));
  if (!file) return fail(call, NfsProcedure::fsstat, file.error());
  const auto attributes = ask_attributes(*file);
  if (!attributes) return fail(call, NfsProcedure::fsstat, attributes.error());
  const auto info = store_.statfs((*file)->number());
  call.reply.u32(static_cast<uint32_t>(info ? NfsStatus::ok : nfs_status_of(info.error().number)));
  write_post(call, *attributes);
  if (!info) return;
  call.reply.u64(info->f_blocks * info->f_frsize);
  call.reply.u64(info->f_bfree * info->f_frsize);
  call.reply.u64(info->f_bavail * info->f_frsize);
  call.reply.u64(info->f_files);
  call.reply.u64(info->f_ffree);
  call.reply.u64(info->f_favail);
  call.reply.u32(0);  // seconds for which this will not change
}

void NfsService::fsinfo(NfsCall& call) {
  const auto file = file_of(call, call.arguments.opaque(kNfsHandleMax));
  if (!file) return fail(call, NfsProcedure::fsinfo, file.error());
  const auto attributes = ask_attributes(*file);
  if (!attributes) return fail(call, NfsProcedure::fsinfo, attributes.error());
  succeed(call);
  write_post(call, *attributes);
  for (int direction = 0; direction < 2; ++direction) {  // reading, writing
    call.reply.u32(kNfsTransferMax);
    call.reply.u32(kNfsTransferMax);
    call.reply.u32(kPageSize);
  }
  call.reply.u32(kNfsTransferMax);  // preferred size of READDIR
  call.reply.u64(INT64_MAX);        // of a file
  call.reply.u32(0);                // times are as fine as
  call.reply.u32(1);                // 1 ns
  call.reply.u32(kHasLinks | kHasSymbolicLinks | kIsHomogeneous | kCanSetTimes);
}

void NfsService::pathconf(NfsCall& call) {
  const auto file = file_of(call, call.arguments.opaque(kNfsHandleMax));
  if (!file) return fail(call, NfsProcedure::pathconf, file.error());
  const auto attributes = ask_attributes(*file);
  if (!attributes) return fail(call, NfsProcedure::pathconf, attributes.error());
  constexpr uint32_t kLinksMax = 32000;
  constexpr uint32_t kNameMax = 255;
  succeed(call);
  write_post(call, *attributes);
  call.reply.u32(kLinksMax);
  call.reply.u32(kNameMax);
  call.reply.boolean(true);   // longer names are refused, not cut
  call.reply.boolean(true);   // only root gives files away
  call.reply.boolean(false);  // names differ in case
  call.reply.boolean(true);
}

}  // namespace sluice
