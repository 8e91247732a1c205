// A listing for programs: an array of objects. "name" is for people, with U+FFFD for what is no UTF-8; "href" leads to
// the entry whatever its bytes.
#include <fmt/format.h>

#include "net/http/date.h"
#include "net/http/directory_page.h"
#include "net/http/text.h"

namespace sluice {
namespace {

class JsonPage final : public PageFormat {
 public:
  void begin(bool, std::string& text) override { text += '['; }

  void entry(const ListedEntry& entry, std::string& text) override {
    text += is_first_ ? "\n" : ",\n";
    is_first_ = false;
    text += "{\"name\":";
    append_json_string(entry.name, text);
    text += entry.is_directory ? ",\"type\":\"directory\",\"size\":null" : ",\"type\":\"file\",\"size\":";
    if (!entry.is_directory) text += fmt::to_string(entry.size);
    text += ",\"mtime\":\"" + format_iso_date(entry.modified_s, 'T', "Z") + "\",\"href\":\"";
    append_percent_encoded(entry.name, false, text);
    text += entry.is_directory ? "/\"}" : "\"}";
  }

  void end(std::string& text) override { text += "\n]\n"; }

 private:
  bool is_first_ = true;
};

}  // namespace

std::unique_ptr<PageFormat> make_json_page() {
  return std::make_unique<JsonPage>();
}

}  // namespace sluice
