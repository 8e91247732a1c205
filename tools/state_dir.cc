#include "tools/state_dir.h"

#include <fcntl.h>
#include <sodium.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include <cerrno>
#include <cstring>
#include <optional>
#include <string_view>

#include "cache/log.h"
#include "cache/unique_fd.h"
#include "fs/store/private_directory.h"
#include "tools/text_file.h"

namespace sluice {
namespace {

constexpr std::string_view kHead = "# Signs the NFS file handles of an export: keep it secret, and keep it.\n";

template <typename Bytes>
std::string hex_of(const Bytes& bytes) {
  std::string text(2 * sizeof bytes + 1, '\0');
  ::sodium_bin2hex(text.data(), text.size(), reinterpret_cast<const unsigned char*>(&bytes), sizeof bytes);
  text.pop_back();
  return text;
}

template <typename Bytes>
bool read_hex(std::string_view text, Bytes* bytes) {
  size_t length = 0;
  return text.size() == 2 * sizeof *bytes &&
         ::sodium_hex2bin(reinterpret_cast<unsigned char*>(bytes), sizeof *bytes, text.data(), text.size(), nullptr,
                          &length, nullptr) == 0 &&
         length == sizeof *bytes;
}

std::string path_of(const std::string& state_dir, const std::string& source, std::string_view kind) {
  return fmt::format("{}/nfs-{:016x}.{}", state_dir, ::XXH3_64bits(source.data(), source.size()), kind);
}

// The value of the line "name = value".
std::string_view value_of(std::string_view text, std::string_view name) {
  const std::string begin = fmt::format("\n{} = ", name);
  const size_t at = text.find(begin);
  if (at == text.npos) return {};
  text.remove_prefix(at + begin.size());
  return text.substr(0, text.find('\n'));
}

std::optional<NfsExportKey> parse_key(std::string_view text) {
  NfsExportKey key;
  if (!read_hex(value_of(text, "secret"), &key.secret) || !read_hex(value_of(text, "export"), &key.export_id))
    return std::nullopt;
  return key;
}

Result<void> sync_directory(const std::string& path) {
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd || ::fsync(fd.get()) != 0) return fail(errno);
  return {};
}

// Whole or not at all, and never over another: of two gateways that start at once the first one's key counts.
Result<void> write_new(const std::string& directory, const std::string& path, std::string_view text) {
  const std::string draft = fmt::format("{}.{}", path, ::getpid());
  UniqueFd fd(::open(draft.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!fd) return fail(errno);
  Result<void> written = write_all(fd.get(), text);
  if (written && ::fsync(fd.get()) != 0) written = fail(errno);
  if (written && ::link(draft.c_str(), path.c_str()) != 0 && errno != EEXIST) written = fail(errno);
  ::unlink(draft.c_str());
  if (!written) return written;
  return sync_directory(directory);
}

// It was brought back from a copy, perhaps.
void warn_of_readers(const std::string& path) {
  struct stat attributes {};
  if (::stat(path.c_str(), &attributes) != 0 || (attributes.st_mode & 077) == 0) return;
  log(LogLevel::warning, "--state-dir: others may read '{}', and who has the key can name any file: chmod 600 '{}'",
      path, path);
}

}  // namespace

std::string state_dir_of(const Options& options) {
  if (!options.state_dir.empty()) return options.state_dir;
  if (::geteuid() == 0) return "/var/lib/sluice";
  const char* state = ::getenv("XDG_STATE_HOME");
  if (state != nullptr && *state == '/') return fmt::format("{}/sluice", state);
  const char* home = ::getenv("HOME");
  return fmt::format("{}/.local/state/sluice", home != nullptr ? home : "");
}

std::string place_table_path(const std::string& state_dir, const std::string& source) {
  return path_of(state_dir, source, "files");
}

std::string dirty_record_path(const std::string& state_dir, const std::string& source) {
  return fmt::format("{}/{:016x}.dirty", state_dir, ::XXH3_64bits(source.data(), source.size()));
}

Checked<NfsExportKey> load_nfs_key(const std::string& state_dir, const std::string& source) {
  if (const auto made = make_private_directory(state_dir); !made) {
    return complain("--state-dir: cannot make '{}': {}; give a directory that you may write", state_dir,
                    error_text(made.error().number));
  }
  const std::string path = path_of(state_dir, source, "key");
  auto text = read_text_file(path);
  if (!text && text.error().number == ENOENT) {
    const NfsExportKey key = NfsExportKey::random();
    const std::string fresh = fmt::format("{}secret = {}\nexport = {}\nsource = {}\n", kHead, hex_of(key.secret),
                                          hex_of(key.export_id), source);
    if (const auto written = write_new(state_dir, path, fresh); !written) {
      return complain("--state-dir: cannot write '{}': {}; give a directory that you may write", path,
                      error_text(written.error().number));
    }
    text = read_text_file(path);
  }
  if (!text) {
    return complain("--state-dir: cannot read '{}': {}; it holds the key of the NFS handles", path,
                    error_text(text.error().number));
  }
  warn_of_readers(path);
  if (const auto key = parse_key(*text)) return *key;
  return complain(
      "--state-dir: '{}' is no key of NFS handles; bring it back from a copy, or remove it: then NFS clients must "
      "mount again",
      path);
}

}  // namespace sluice
