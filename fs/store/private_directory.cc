#include "fs/store/private_directory.h"

#include <sys/stat.h>

#include <cerrno>
#include <filesystem>

namespace sluice {
namespace {

Result<void> make_with_parents(const std::filesystem::path& path, mode_t mode) {
  std::error_code ignored;  // mkdir says it
  if (std::filesystem::is_directory(path, ignored)) return {};
  if (const auto parent = path.parent_path(); !parent.empty() && parent != path) TRY(make_with_parents(parent, 0755));
  if (::mkdir(path.c_str(), mode) == 0) return {};
  const int error = errno;
  if (error != EEXIST) return fail(error);
  return std::filesystem::is_directory(path, ignored) ? Result<void>() : fail(ENOTDIR);  // others may have made it
}

}  // namespace

Result<void> make_private_directory(const std::string& path) {
  const std::filesystem::path whole(path);
  return make_with_parents(whole.has_filename() ? whole : whole.parent_path(), 0700);
}

}  // namespace sluice
