// What the store answers without asking the backing. Everything here may be missing: then the operation asks, and what
// it learns is kept for the next one.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "fs/store/store_impl.h"

namespace sluice {
namespace {

// All that permissions depend on, so that no two callers share what one of them may.
std::string bytes_of(const Caller& caller, int mode) {
  const uint32_t head[3] = {caller.uid, caller.gid, static_cast<uint32_t>(mode)};
  std::string bytes(reinterpret_cast<const char*>(head), sizeof(head));
  bytes.append(reinterpret_cast<const char*>(caller.groups.data()), caller.groups.size() * sizeof(gid_t));
  return bytes;
}

}  // namespace

std::string path_key(const Caller& caller, std::string_view path) {
  std::string key = bytes_of(caller, static_cast<int>(caller.groups.size()));
  key += path;
  return key;
}

std::optional<KnownMetadata> StoreImpl::known(const MetadataKey& key, std::chrono::nanoseconds age_max) {
  if (!metadata_.enabled() || age_max.count() <= 0) return std::nullopt;
  if (key.kind != MetadataKind::path && table_.find(key.number) == nullptr) return std::nullopt;  // forgotten
  if (watch_ != nullptr) watch_->catch_up();
  return metadata_.find(key, age_max);
}

std::optional<Attributes> StoreImpl::known_attributes(InodeNumber number, std::chrono::nanoseconds age_max) {
  const auto found = known({MetadataKind::attributes, number}, age_max);
  if (!found) return std::nullopt;
  const Statx& attributes = *std::get<SharedStatx>(found->value);
  if (write_back_ == nullptr) return Attributes{to_stat(attributes), found->age};
  return Attributes{to_stat(shown(table_.find(number), attributes)), found->age};
}

std::optional<Entry> StoreImpl::known_lookup(InodeNumber parent, std::string_view name) {
  const auto found = known({MetadataKind::name, parent, name}, options_.entry_timeout);
  if (!found) return std::nullopt;
  const auto attributes = known_attributes(std::get<InodeNumber>(found->value), options_.attr_timeout);
  if (!attributes) return std::nullopt;
  const InodeRef inode = table_.find_at(std::get<InodeNumber>(found->value), parent, name);
  if (inode == nullptr) return std::nullopt;
  return Entry{inode->number, attributes->values, std::max(found->age, attributes->age)};
}

bool StoreImpl::is_known_grant(const Caller& caller, InodeNumber number, int mode, std::chrono::nanoseconds age_max) {
  if (age_max.count() <= 0) return false;
  return known({MetadataKind::grant, number, bytes_of(caller, mode)}, age_max).has_value();
}

std::optional<Attributes> StoreImpl::known_getattr(InodeNumber number) {
  return known_attributes(number, options_.attr_timeout);
}

bool StoreImpl::is_known_to_permit(const Caller& caller, InodeNumber number, int mode) {
  return is_known_grant(caller, number, mode, options_.attr_timeout);
}

SeenInode StoreImpl::remember(InodeNumber number) {
  return {number, metadata_.changes().of(change_key(number))};
}

bool StoreImpl::unchanged(std::span<const SeenInode> inodes) {
  if (watch_ != nullptr) watch_->catch_up();
  const ChangeCounts& changes = metadata_.changes();
  return std::ranges::all_of(
      inodes, [&](const SeenInode& seen) { return changes.of(change_key(seen.number)) == seen.changes; });
}

void StoreImpl::drop_metadata() {
  metadata_.changes().count_all();  // answers on their way are not kept either
  metadata_.clear();
  listings_.clear();
}

void StoreImpl::learn_attributes(InodeNumber number, const Statx& attributes, const Look& look, bool found) {
  if (!metadata_.enabled()) return;
  metadata_.insert({MetadataKind::attributes, number}, std::make_shared<const Statx>(attributes), look,
                   found ? std::optional(change_key(number)) : std::nullopt);
}

void StoreImpl::learn_grant(const Caller& caller, InodeNumber number, int mode, const Look& look) {
  metadata_.insert({MetadataKind::grant, number, bytes_of(caller, mode)}, {}, look);
}

std::unique_ptr<OpenFile> StoreImpl::open_known(const Caller& caller, InodeNumber number, int flags) {
  if (!opens_may_know() || (flags & O_TRUNC) != 0) return nullptr;
  const bool for_writing = (flags & O_ACCMODE) != O_RDONLY;
  const auto attributes = known_attributes(number, open_age_);
  if (!attributes || !S_ISREG(attributes->values.st_mode)) return nullptr;
  if (!is_known_grant(caller, number, access_needed(flags), open_age_)) return nullptr;
  InodeRef inode = table_.find(number);
  if (inode == nullptr) return nullptr;
  PathFd fd = descriptors_.get(number);
  std::shared_ptr<FileData> data = table_.data(inode);
  if (fd == nullptr || data == nullptr || !data->open_unasked(for_writing)) return nullptr;
  OpenedData opened(&open_files_, number, std::move(data), for_writing);
  return make_open_file({std::move(inode), std::move(opened), flags & ~(O_CREAT | O_EXCL),
                         DescriptorPin(&descriptors_, number, std::move(fd))},
                        readahead());
}

std::optional<Result<Store::OpenedPath>> StoreImpl::open_known_path(const Caller& caller, std::string_view path,
                                                                    PathReads reads) {
  const auto age_max = std::max(open_age_, options_.negative_timeout);
  if (age_max.count() == 0) return std::nullopt;
  const auto found = known({MetadataKind::path, 0, path_key(caller, path)}, age_max);
  if (!found) return std::nullopt;
  const Error* absent = std::get_if<Error>(&found->value);
  if (found->age >= (absent != nullptr ? options_.negative_timeout : open_age_)) return std::nullopt;
  if (absent != nullptr) return tl::unexpected(*absent);
  const InodeNumber number = std::get<InodeNumber>(found->value);
  const auto attributes = known_attributes(number, open_age_);
  if (!attributes) return std::nullopt;
  OpenedPath opened;
  opened.attributes = attributes->values;
  if (!S_ISREG(opened.attributes.st_mode)) return opened;
  InodeRef inode = table_.find(number);
  if (inode == nullptr) return std::nullopt;
  if (!open_files_.has_room(number, options_.path_files_max)) return fail(EMFILE);
  std::shared_ptr<FileData> data = table_.data(inode);
  if (data == nullptr) return std::nullopt;
  if (!data->open_unasked(false)) {
    if (reads == PathReads::resident) opened.file = open_cached(inode, nullptr);
    if (opened.file == nullptr) return std::nullopt;
    return opened;
  }
  OpenedData kept(&open_files_, number, std::move(data), false);
  opened.file = make_open_file({std::move(inode), std::move(kept), O_RDONLY, {}}, readahead());
  return opened;
}

}  // namespace sluice
