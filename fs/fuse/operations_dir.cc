// Directories. readdirplus is readdir plus a lookup of every entry; the whole of the attributes is given each time, for
// the kernel believes it (a missing size would cut off a mapped file).
#include <errno.h>

#include <vector>

#include "fs/fuse/directory_reply.h"
#include "fs/fuse/operations.h"
#include "fs/fuse/reply.h"

namespace sluice {
namespace {

using Format = DirectoryReply::Format;

// The next entries from `offset` that fit into `size` bytes with their attributes; none at the end.
Result<std::vector<NamedEntry>> next_entries(OpenDirectory& directory, uint64_t offset, size_t size) {
  std::vector<NamedEntry> entries;
  size_t used = 0;
  TRY(directory.read(offset, [&](const DirectoryEntry& found) {
    NamedEntry entry(found);
    used += DirectoryReply::plus_size(entry.name);
    if (used > size) return false;
    entries.push_back(std::move(entry));
    return true;
  }));
  // The kernel would take an empty reply for the end.
  if (entries.empty() && used > 0) return fail(EINVAL);
  return entries;
}

// Looks the entries up and packs them. `referenced` gets the numbers that now have one more reference.
DirectoryReply pack_plus(const Request& request, InodeNumber parent, const std::vector<NamedEntry>& entries,
                         size_t size, std::vector<InodeNumber>& referenced) {
  DirectoryReply reply(Format::plus, size);
  for (const NamedEntry& entry : entries) {
    if (entry.name == "." || entry.name == "..") {  // the kernel takes no reference on these
      reply.add(entry.entry());
      continue;
    }
    const auto found = request.store().lookup(parent, entry.name);
    if (found) {
      referenced.push_back(found->number);
      reply.add(entry, entry_param(request.context().options, *found));
    } else if (found.error().number != ENOENT) {
      reply.add(entry.entry());
    }
  }
  return reply;
}

void opendir(fuse_req_t handle, fuse_ino_t number, fuse_file_info* info) noexcept {
  Request request(handle);
  if (auto confirmed = request.store().confirm_name(number); !confirmed) return request.reply_error(confirmed.error());
  request.reply_open_directory(request.store().open_directory(request.caller(), number), *info);
}

void readdir(fuse_req_t handle, fuse_ino_t, size_t size, off_t offset, fuse_file_info* info) noexcept {
  Request request(handle);
  const auto directory = HandleTable<DirectoryHandle>::get(info->fh).directory;
  DirectoryReply reply(Format::plain, size);
  bool all_fit = true;
  const auto visited = directory->read(static_cast<uint64_t>(offset),
                                       [&](const DirectoryEntry& found) { return all_fit = reply.add(found); });
  if (!visited) return request.reply_error(visited.error());
  // The kernel would take an empty reply for the end.
  if (reply.bytes().empty() && !all_fit) return request.reply_error({EINVAL});
  request.reply_bytes(reply.bytes());
}

void readdirplus(fuse_req_t handle, fuse_ino_t number, size_t size, off_t offset, fuse_file_info* info) noexcept {
  Request request(handle);
  const auto directory = HandleTable<DirectoryHandle>::get(info->fh).directory;
  auto next = static_cast<uint64_t>(offset);
  while (true) {
    const auto entries = next_entries(*directory, next, size);
    if (!entries) return request.reply_error(entries.error());
    std::vector<InodeNumber> referenced;
    const auto reply = pack_plus(request, number, *entries, size, referenced);
    if (reply.bytes().empty() && !entries->empty()) {  // all of them are gone meanwhile, and this is not the end
      next = entries->back().next_offset;
      continue;
    }
    Store& store = request.store();
    if (!request.reply_bytes(reply.bytes())) {
      for (const InodeNumber unwanted : referenced) store.forget(unwanted, 1);
    }
    return;
  }
}

void releasedir(fuse_req_t handle, fuse_ino_t, fuse_file_info* info) noexcept {
  Request request(handle);
  request.context().directories.remove(info->fh);
  request.reply_done({});
}

void fsyncdir(fuse_req_t handle, fuse_ino_t, int data_only, fuse_file_info* info) noexcept {
  Request request(handle);
  const auto directory = HandleTable<DirectoryHandle>::get(info->fh).directory;
  request.reply_done(directory->fsync(data_only != 0));
}

}  // namespace

void add_directory_operations(fuse_lowlevel_ops& operations) {
  operations.opendir = opendir;
  operations.readdir = readdir;
  operations.readdirplus = readdirplus;
  operations.releasedir = releasedir;
  operations.fsyncdir = fsyncdir;
}

}  // namespace sluice
