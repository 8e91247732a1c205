#include "fs/fuse/directory_reply.h"

#include <dirent.h>
#include <limits.h>
#include <sys/stat.h>

#include "cache/assert.h"

namespace sluice {
namespace {

// libfuse wants a zero at its end.
struct NameText {
  explicit NameText(std::string_view name) {
    ASSERT(name.size() <= NAME_MAX);
    bytes[name.copy(bytes, NAME_MAX)] = 0;
  }
  char bytes[NAME_MAX + 1];
};

}  // namespace

size_t DirectoryReply::plus_size(const std::string& name) {
  return fuse_add_direntry_plus(nullptr, nullptr, 0, name.c_str(), nullptr, 0);
}

bool DirectoryReply::add(const DirectoryEntry& entry) {
  const NameText name(entry.name);
  const auto next = static_cast<off_t>(entry.next_offset);
  fuse_entry_param unknown{};  // number 0: the kernel takes the name only
  unknown.attr.st_ino = entry.ino;
  unknown.attr.st_mode = DTTOIF(entry.type);
  char* const target = &bytes_[used_];
  const size_t taken = format_ == Format::plus
                           ? fuse_add_direntry_plus(nullptr, target, room(), name.bytes, &unknown, next)
                           : fuse_add_direntry(nullptr, target, room(), name.bytes, &unknown.attr, next);
  if (taken > room()) return false;
  used_ += taken;
  return true;
}

void DirectoryReply::add(const NamedEntry& entry, const fuse_entry_param& found) {
  ASSERT(format_ == Format::plus);
  used_ += fuse_add_direntry_plus(nullptr, &bytes_[used_], room(), entry.name.c_str(), &found,
                                  static_cast<off_t>(entry.next_offset));
  ASSERT(used_ <= bytes_.size());
}

}  // namespace sluice
