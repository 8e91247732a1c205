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
  list(call, *directory, {.cookie = cookie, .bytes_max = count, .names_max = count});
}

void NfsService::readdirplus(NfsCall& call) {
  const std::string_view handle = call.arguments.opaque(kNfsHandleMax);
  const uint64_t cookie = call.arguments.u64();
  call.arguments.fixed(kNfsVerifierSize);
  const size_t names = call.arguments.u32();
  const size_t count = std::min<size_t>(call.arguments.u32(), kReplyMax);
  const auto directory = file_of(call, handle);
  if (!directory) return fail(call, NfsProcedure::readdirplus, directory.error());
  // Who may read the names but not go through them is told no more than the names.
  const bool shows_files = permit(call, **directory, X_OK).has_value();
  list(call, *directory,
       {.cookie = cookie, .bytes_max = count, .names_max = names, .has_files = true, .shows_files = shows_files});
}

void NfsService::list(NfsCall& call, const NfsFileRef& directory, const ListOptions& options) {
  const auto attributes = ask_attributes(directory);
  const auto refuse = [&](NfsStatus status) {
    call.reply.u32(static_cast<uint32_t>(status));
    write_post(call, attributes ? std::optional(*attributes) : std::nullopt);
  };
  if (!attributes) return refuse(attributes.error());
  if (!S_ISDIR(attributes->st_mode)) return refuse(NfsStatus::notdir);
  if (const auto permitted = permit(call, *directory, R_OK); !permitted) return refuse(permitted.error());
  if (options.bytes_max <= kHeadSize + kEndSize) return refuse(NfsStatus::toosmall);

  const NfsListingKey key{.directory = directory->number(),
                          .cookie = options.cookie,
                          .bytes_max = options.bytes_max,
                          .names_max = options.names_max,
                          .has_files = options.has_files,
                          .shows_files = options.shows_files};
  const size_t begin = call.reply.size();
  succeed(call);
  write_post(call, *attributes);
  call.reply.u64(0);  // the verifier
  if (const auto known = listings_.find(key)) {
    call.reply.raw(known->bytes);
    return;
  }
  NfsListing listing;
  listing.good_until = clock_.monotonic() + store_.lifetime();
  listing.seen.push_back(store_.remember(directory->number()));
  listing.files.push_back(directory);
  const size_t entries = call.reply.size();
  if (const auto written = write_entries(call, *directory, options, &listing); !written) {
    call.reply.truncate(begin);
    return refuse(written.error());
  }
  if (listing.good_until <= clock_.monotonic()) return;
  listing.bytes = call.reply.bytes().substr(entries);
  listings_.insert(key, std::move(listing));
}

NfsResult<> NfsService::write_entries(NfsCall& call, const NfsFile& directory, const ListOptions& options,
                                      NfsListing* listing) {
  const auto opened = store_.open_directory(*call.caller, directory.number());
  if (!opened) return nfs_fail(nfs_status_of(opened.error().number));
  const auto own = attributes_of(directory);
  call.reply.reserve(call.reply.size() + std::min<size_t>(options.bytes_max, 64 << 10));
  Page page{call.reply, call.reply.size() - kHeadSize + options.bytes_max - kEndSize};
  size_t names = 0;
  const auto read = (*opened)->read(options.cookie, [&](const DirectoryEntry& entry) {
    const size_t at = call.reply.size();
    const bool is_root_parent = entry.name == ".." && directory.number() == kRootInode && own;
    write_entry(call.reply, entry, is_root_parent ? own->st_ino : entry.ino);
    names += call.reply.size() - at;
    if (names > options.names_max && page.entries > 0) {
      call.reply.truncate(at);
      page.is_full = true;
      return false;
    }
    if (options.has_files) write_entry_file(call, directory, options.shows_files ? entry.name : "", listing);
    return page.keep(at);
  });
  if (!read) return nfs_fail(nfs_status_of(read.error().number));
  if (page.is_full && page.entries == 0) return nfs_fail(NfsStatus::toosmall);
  call.reply.boolean(false);
  call.reply.boolean(!page.is_full);
  return {};
}

// Attributes and handle; nothing of what went meanwhile, lies on another file system, or is not to be shown ("").
void NfsService::write_entry_file(NfsCall& call, const NfsFile& directory, std::string_view name, NfsListing* listing) {
  std::optional<struct stat> attributes;
  NfsResult<NfsFileRef> file = nfs_fail(NfsStatus::noent);
  if (!name.empty()) {
    if (const auto entry = store_.lookup(directory.number(), name)) {
      attributes = entry->attributes;
      file = file_of_entry(*entry);
    }
  }
  if (file) {
    // What is known from now on changes with the inode's count. What is not known is not to be kept.
    listing->seen.push_back(store_.remember((*file)->number()));
    listing->files.push_back(*file);
    const auto known = store_.known_getattr((*file)->number());
    const auto now = clock_.monotonic();
    listing->good_until = std::min(listing->good_until, known ? now - known->age + store_.lifetime() : now);
    if (known) attributes = known->values;
  }
  write_post(call, attributes);
  call.reply.boolean(file.has_value());
  if (file) call.reply.opaque((*file)->handle());
}

}  // namespace sluice
