#include "tools/warm_list.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>

#include "cache/log.h"
#include "cache/unique_fd.h"
#include "tools/encoded_word.h"
#include "tools/text_file.h"

namespace sluice {
namespace {

constexpr std::string_view kFirstLine = "sluice-warm-list 1";

std::string hex_of(std::string_view bytes) {
  std::string hex;
  for (const char c : bytes) hex += fmt::format("{:02x}", static_cast<unsigned char>(c));
  return hex.empty() ? "-" : hex;
}

bool parse_hex(std::string_view hex, std::string& bytes) {
  if (hex == "-") return true;
  if (hex.size() % 2 != 0) return false;
  for (size_t i = 0; i < hex.size(); i += 2) {
    unsigned byte = 0;
    const char* digits = hex.data() + i;
    if (std::from_chars(digits, digits + 2, byte, 16).ptr != digits + 2) return false;
    bytes += static_cast<char>(byte);
  }
  return true;
}

// Cuts up to the separator off the front.
std::string_view cut(std::string_view& text, char separator) {
  const std::string_view piece = text.substr(0, text.find(separator));
  text.remove_prefix(std::min(text.size(), piece.size() + 1));
  return piece;
}

template <typename Number>
bool parse_number(std::string_view text, Number& number) {
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), number);
  return parsed.ec == std::errc() && parsed.ptr == text.data() + text.size();
}

bool parse_file(std::string_view line, CachedContent& content) {
  Stamp& stamp = content.stamp;
  if (cut(line, ' ') != "file" || !parse_number(cut(line, ' '), stamp.ino) ||
      !parse_number(cut(line, ' '), stamp.birth_ns) || !parse_number(cut(line, ' '), stamp.size) ||
      !parse_number(cut(line, ' '), stamp.mtime_ns) || !parse_number(cut(line, ' '), stamp.ctime_ns) ||
      !parse_hex(cut(line, ' '), content.handle) || line.empty()) {
    return false;
  }
  if (line != "-") content.path = decode_word(line);
  return true;
}

// In order, apart, inside the file.
bool parse_pages(std::string_view line, CachedContent& content) {
  if (cut(line, ' ') != "pages") return false;
  const uint64_t pages = pages_of(0, content.stamp.size).count;
  uint64_t reached = 0;
  while (!line.empty()) {
    std::string_view range = cut(line, ',');
    uint64_t first = 0, last = 0;
    const std::string_view start = cut(range, '-');
    if (!parse_number(start, first)) return false;
    last = first;
    if (!range.empty() && !parse_number(range, last)) return false;
    if (first < reached || last < first || last >= pages) return false;
    content.pages.push_back({first, last - first + 1});
    reached = last + 1;
  }
  return !content.pages.empty();
}

}  // namespace

std::string print_warm_list(const std::vector<CachedContent>& contents) {
  std::string text(kFirstLine);
  text += '\n';
  for (const CachedContent& content : contents) {
    const Stamp& stamp = content.stamp;
    text += fmt::format("file {} {} {} {} {} {} {}\npages ", stamp.ino, stamp.birth_ns, stamp.size, stamp.mtime_ns,
                        stamp.ctime_ns, hex_of(content.handle), content.path.empty() ? "-" : encode_word(content.path));
    for (const PageRange& range : content.pages) {
      if (text.back() != ' ') text += ',';
      text += range.count == 1 ? fmt::to_string(range.first) : fmt::format("{}-{}", range.first, range.end() - 1);
    }
    text += '\n';
  }
  return text;
}

Checked<WarmList> parse_warm_list(std::string_view text) {
  WarmList list;
  if (text.empty()) return list;
  if (cut(text, '\n') != kFirstLine) return complain("line 1: not a warm list ('{}')", kFirstLine);
  for (size_t line = 2; !text.empty(); line += 2) {
    CachedContent content;
    if (!parse_file(cut(text, '\n'), content)) {
      list.damage = fmt::format("line {}: no file", line);
      break;
    }
    if (!parse_pages(cut(text, '\n'), content)) {
      list.damage = fmt::format("line {}: no pages of that file", line + 1);
      break;
    }
    list.contents.push_back(std::move(content));
  }
  return list;
}

Checked<> save_warm_list(const std::string& path, const std::vector<CachedContent>& contents) {
  const std::string text = print_warm_list(contents);
  const std::string fresh = path + ".new";
  ::unlink(fresh.c_str());
  const UniqueFd fd(::open(fresh.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (fd && write_all(fd.get(), text) && ::fsync(fd.get()) == 0 && ::rename(fresh.c_str(), path.c_str()) == 0)
    return {};
  const int error = errno;
  if (fd) ::unlink(fresh.c_str());
  return complain("--warm-restart: cannot write '{}': {}", path, error_text(error));
}

Checked<std::vector<CachedContent>> load_warm_list(const std::string& path) {
  // What is replaced in the end must be ours to replace, and a pipe would keep us waiting for who writes to it.
  struct stat attributes {};
  if (::stat(path.c_str(), &attributes) == 0 && !S_ISREG(attributes.st_mode))
    return complain("--warm-restart: '{}' is no regular file; give another name", path);
  const Result<std::string> text = read_text_file(path);
  if (!text && text.error().number == ENOENT) return std::vector<CachedContent>();
  if (!text) return complain("--warm-restart: cannot read '{}': {}", path, error_text(text.error().number));
  auto list = parse_warm_list(*text);
  if (!list) return complain("--warm-restart: '{}', {}; remove it", path, list.error().line);
  if (!list->damage.empty()) {
    log(LogLevel::warning, "warm restart: '{}' is damaged ({}): what follows in it is not cached again", path,
        list->damage);
  }
  return std::move(list->contents);
}

}  // namespace sluice
