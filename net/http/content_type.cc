#include "net/http/content_type.h"

#include <array>
#include <fstream>
#include <sstream>
#include <utility>

namespace sluice {
namespace {

constexpr std::pair<const char*, const char*> kBuiltIn[] = {
    {"html", "text/html"},        {"htm", "text/html"},       {"css", "text/css"},        {"js", "text/javascript"},
    {"json", "application/json"}, {"txt", "text/plain"},      {"xml", "text/xml"},        {"svg", "image/svg+xml"},
    {"png", "image/png"},         {"jpg", "image/jpeg"},      {"jpeg", "image/jpeg"},     {"gif", "image/gif"},
    {"webp", "image/webp"},       {"pdf", "application/pdf"}, {"gz", "application/gzip"}, {"zip", "application/zip"},
    {"mp3", "audio/mpeg"},        {"ogg", "audio/ogg"},       {"mp4", "video/mp4"},       {"webm", "video/webm"},
    {"mkv", "video/x-matroska"},
};

constexpr size_t kEndingMax = 32;

}  // namespace

ContentTypes::ContentTypes(const std::string& file) {
  for (const auto& [ending, type] : kBuiltIn) types_.emplace(ending, type);
  std::ifstream lines(file);
  std::string line;
  while (std::getline(lines, line)) {
    std::istringstream words(line.substr(0, line.find('#')));
    std::string type;
    std::string ending;
    words >> type;
    while (words >> ending) types_[ending] = type;
  }
}

std::string_view ContentTypes::of(std::string_view path) const {
  static constexpr std::string_view kUnknown = "application/octet-stream";
  const size_t dot = path.find_last_of("./");
  if (dot == std::string_view::npos || path[dot] == '/') return kUnknown;
  const std::string_view ending = path.substr(dot + 1);
  if (ending.size() > kEndingMax) return kUnknown;
  std::array<char, kEndingMax> lower;
  for (size_t i = 0; i < ending.size(); ++i) {
    lower[i] = ending[i] >= 'A' && ending[i] <= 'Z' ? static_cast<char>(ending[i] - 'A' + 'a') : ending[i];
  }
  const auto found = types_.find(std::string_view(lower.data(), ending.size()));
  return found == types_.end() ? kUnknown : std::string_view(found->second);
}

}  // namespace sluice
