#include "fs/fuse/directory_reply.h"

#include <dirent.h>
#include <sys/stat.h>

#include "cache/assert.h"

namespace sluice {

size_t DirectoryReply::entry_size(Format format, const std::string& name) {
  return format == Format::plus ? fuse_add_direntry_plus(nullptr, nullptr, 0, name.c_str(), nullptr, 0)
                                : fuse_add_direntry(nullptr, nullptr, 0, name.c_str(), nullptr, 0);
}

char* DirectoryReply::extend(const std::string& name) {
  const size_t place = bytes_.size();
  bytes_.resize(place + entry_size(format_, name));
  ASSERT(bytes_.size() <= size_);
  return &bytes_[place];
}

void DirectoryReply::add(const NamedEntry& entry) {
  fuse_entry_param unknown{};  // number 0: the kernel takes the name only
  unknown.attr.st_ino = entry.ino;
  unknown.attr.st_mode = DTTOIF(entry.type);
  if (format_ == Format::plus) return add(entry, unknown);
  char* const target = extend(entry.name);
  fuse_add_direntry(nullptr, target, size_, entry.name.c_str(), &unknown.attr, static_cast<off_t>(entry.next_offset));
}

void DirectoryReply::add(const NamedEntry& entry, const fuse_entry_param& found) {
  ASSERT(format_ == Format::plus);
  char* const target = extend(entry.name);
  fuse_add_direntry_plus(nullptr, target, size_, entry.name.c_str(), &found, static_cast<off_t>(entry.next_offset));
}

}  // namespace sluice
