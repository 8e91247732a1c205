#include "tools/mountinfo.h"

#include <fmt/format.h>
#include <limits.h>
#include <stdlib.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <filesystem>
#include <memory>

#include "tools/text_file.h"

namespace sluice {
namespace {

std::optional<std::string> real_path(const std::string& path) {
  const std::unique_ptr<char, decltype(&::free)> real(::realpath(path.c_str(), nullptr), ::free);
  if (!real) return std::nullopt;
  return std::string(real.get());
}

std::optional<std::string> link_target(const std::string& path) {
  std::array<char, PATH_MAX> target;
  const ssize_t length = ::readlink(path.c_str(), target.data(), target.size());
  if (length < 0) return std::nullopt;
  return std::string(target.data(), static_cast<size_t>(length));
}

// Removes ".", ".." and doubled slashes by the letter, so that the last component is a name.
std::optional<std::filesystem::path> lexical_path(const std::string& path) {
  std::error_code error;
  const std::filesystem::path absolute = std::filesystem::absolute(path, error);
  if (error || path.empty()) return std::nullopt;
  std::filesystem::path normal = absolute.lexically_normal();
  if (!normal.has_filename() && normal.has_relative_path()) normal = normal.parent_path();  // "/mnt/" to "/mnt"
  return normal;
}

}  // namespace

std::vector<MountEntry> read_mounts() {
  const Result<std::string> text = read_text_file("/proc/self/mountinfo");
  return text ? parse_mountinfo(*text) : std::vector<MountEntry>();
}

const MountEntry* find_mount(const std::vector<MountEntry>& mounts, std::string_view path) {
  for (auto mount = mounts.rbegin(); mount != mounts.rend(); ++mount) {
    if (mount->path == path) return &*mount;
  }
  return nullptr;
}

uid_t mount_owner(std::string_view mountinfo, const MountEntry& mount) {
  constexpr std::string_view key = "user_id=";
  const std::string start = fmt::format("{} ", mount.id);
  while (!mountinfo.empty()) {
    const size_t end = std::min(mountinfo.find('\n'), mountinfo.size());
    const std::string_view line = mountinfo.substr(0, end);
    mountinfo.remove_prefix(std::min(end + 1, mountinfo.size()));
    const size_t found = line.rfind(key);
    if (!line.starts_with(start) || found == std::string_view::npos) continue;
    uid_t owner = 0;
    std::from_chars(line.data() + found + key.size(), line.data() + line.size(), owner);
    return owner;
  }
  return 0;
}

uid_t mount_owner(const MountEntry& mount) {
  const Result<std::string> text = read_text_file("/proc/self/mountinfo");
  return text ? mount_owner(*text, mount) : 0;
}

std::optional<std::string> mountpoint_path(const std::string& path, const std::vector<MountEntry>& mounts) {
  constexpr int links_max = 40;  // as the kernel
  std::string wanted = path;
  for (int links = 0; links < links_max; ++links) {
    const std::optional<std::filesystem::path> lexical = lexical_path(wanted);
    if (!lexical) return std::nullopt;
    if (!lexical->has_relative_path()) return lexical->string();  // "/"
    const std::optional<std::string> parent = real_path(lexical->parent_path().string());
    if (!parent) return std::nullopt;
    const std::filesystem::path found = std::filesystem::path(*parent) / lexical->filename();
    if (find_mount(mounts, found.string()) != nullptr) return found.string();
    const std::optional<std::string> target = link_target(found.string());
    if (!target) return found.string();
    wanted = (std::filesystem::path(*parent) / *target).string();
  }
  return std::nullopt;
}

}  // namespace sluice
