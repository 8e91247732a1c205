// The Content-Type of a file, by the ending of its name.
#pragma once

#include <string>
#include <string_view>
#include <unordered_map>

namespace sluice {

class ContentTypes {
 public:
  // Reads a file in the format of /etc/mime.types over a small built-in table. A missing file is no error.
  explicit ContentTypes(const std::string& file = "/etc/mime.types");

  std::string_view of(std::string_view path) const;  // "application/octet-stream" when unknown

 private:
  struct Hash {
    using is_transparent = void;
    size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
  };
  std::unordered_map<std::string, std::string, Hash, std::equal_to<>> types_;  // by lower-case ending
};

}  // namespace sluice
