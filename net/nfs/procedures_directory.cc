// RFC 1813 3.3.16, 3.3.17.
//
// A cookie is the backing's own offset behind the entry: it stays good while the directory changes, and after a
// restart. So there is nothing to verify; the verifier is always 0, and BAD_COOKIE never said: clients that hear it
// because somebody made a file start again, and again.
#include <unistd.h>

#include <algorithm>

#include "net/nfs/service.h"

namespace sluice {
namespace {

constexpr size_t kReplyMax = kNfsTransferMax;
constexpr size_t kHeadSize = 4 + 4 + kNfsAttributesSize + kNfsVerifierSize;
constexpr size_t kEndSize = 2 * kXdrWord;  // no more entries; whether those were all

// The entries of one reply, up to a size.
struct Page {
  XdrWriter& reply;
  size_t end;  // of the reply, before what comes behind the last entry
  bool is_full = false;
  uint64_t entries = 0;

  // Keeps what was written since `begin`, if it fits.
  bool keep(size_t begin) {
    if (reply.size() <= end) {
      ++entries;
      return true;
    }
    reply.truncate(begin);
    is_full = true;
    return false;
  }
};

void write_entry(XdrWriter& reply, const DirectoryEntry& entry, uint64_t fileid) {
  reply.boolean(true);
  reply.u64(fileid);
  reply.opaque(entry.name);
  reply.u64(entry.next_offset);
}

}  // namespace

void NfsService::readdir(NfsCall& call) {
  const std::string_view handle = call.arguments.opaque(kNfsHandleMax);
  const uint64_t cookie = call.arguments.u64();
  call.arguments.fixed(kNfsVerifierSize);
  const size_t count = std::min<size_t>(call.arguments.u32(), kReplyMax);
  const auto directory = file_of(call, handle);
  if (!directory) return fail(call, NfsProcedure::readdir, directory.error());
  list(call, NfsProcedure::readdir, **directory, {.cookie = cookie, .bytes_max = count, .names_max = count});
}

void NfsService::readdirplus(NfsCall& call) {
  const std::string_view handle = call.arguments.opaque(kNfsHandleMax);
  const uint64_t cookie = call.arguments.u64();
  call.arguments.fixed(kNfsVerifierSize);
  const size_t names = call.arguments.u32();
  const size_t count = std::min<size_t>(call.arguments.u32(), kReplyMax);
  const auto directory = file_of(call, handle);
  if (!directory) return fail(call, NfsProcedure::readdirplus, directory.error());
  list(call, NfsProcedure::readdirplus, **directory, {.cookie = cookie, .bytes_max = count, .names_max = names});
}

void NfsService::list(NfsCall& call, NfsProcedure procedure, const NfsFile& directory, const ListOptions& options) {
  const auto attributes = attributes_of(directory);
  const auto refuse = [&](NfsStatus status) {
    call.reply.u32(static_cast<uint32_t>(status));
    write_post(call, attributes);
  };
  if (!attributes || attributes->st_nlink == 0) return refuse(NfsStatus::stale);
  if (!S_ISDIR(attributes->st_mode)) return refuse(NfsStatus::notdir);
  auto opened = store_.open_directory(*call.caller, directory.number());
  if (!opened) return refuse(nfs_status_of(opened.error().number));
  if (options.bytes_max <= kHeadSize + kEndSize) return refuse(NfsStatus::toosmall);

  const bool plus = procedure == NfsProcedure::readdirplus;
  // Who may read the names but not go through them is told no more than the names.
  const bool shows_files = plus && permit(call, directory, X_OK);
  const size_t begin = call.reply.size();
  call.reply.reserve(std::min<size_t>(options.bytes_max, 64 << 10));
  succeed(call);
  write_post(call, attributes);
  call.reply.u64(0);  // the verifier
  Page page{call.reply, begin + options.bytes_max - kEndSize};
  size_t names = 0;
  const auto read = (*opened)->read(options.cookie, [&](const DirectoryEntry& entry) {
    const size_t at = call.reply.size();
    const bool is_root_parent = entry.name == ".." && directory.number() == kRootInode;
    write_entry(call.reply, entry, is_root_parent ? attributes->st_ino : entry.ino);
    names += call.reply.size() - at;
    if (names > options.names_max && page.entries > 0) {
      call.reply.truncate(at);
      page.is_full = true;
      return false;
    }
    if (plus) write_entry_file(call, directory, shows_files ? entry.name : "");
    return page.keep(at);
  });
  if (!read || (page.is_full && page.entries == 0)) {
    call.reply.truncate(begin);
    return refuse(read ? NfsStatus::toosmall : nfs_status_of(read.error().number));
  }
  call.reply.boolean(false);
  call.reply.boolean(!page.is_full);
}

// Attributes and handle; nothing of what went meanwhile, lies on another file system, or is not to be shown ("").
void NfsService::write_entry_file(NfsCall& call, const NfsFile& directory, std::string_view name) {
  std::optional<struct stat> attributes;
  NfsResult<NfsFileRef> file = nfs_fail(NfsStatus::noent);
  if (!name.empty()) {
    if (const auto entry = store_.lookup(directory.number(), name)) {
      attributes = entry->attributes;
      file = file_of_entry(*entry);
    }
  }
  write_post(call, attributes);
  call.reply.boolean(file.has_value());
  if (file) call.reply.opaque((*file)->handle());
}

}  // namespace sluice
