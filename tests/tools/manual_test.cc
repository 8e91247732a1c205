// The manual and the options table say the same.
#include <algorithm>
#include <filesystem>
#include <regex>
#include <set>

#include "tests/support/catch.h"
#include "tools/options.h"
#include "tools/text_file.h"
#include "tools/version.h"

namespace sluice {
namespace {

std::string page(const std::string& name) {
  const Result<std::string> text = read_text_file(std::string(SLUICE_SOURCE_DIR) + "/man/" + name);
  REQUIRE(text);
  return *text;
}

std::set<std::string> matches(const std::string& text, const std::regex& pattern) {
  std::set<std::string> found;
  for (auto match = std::sregex_iterator(text.begin(), text.end(), pattern); match != std::sregex_iterator(); ++match) {
    found.insert((*match)[1]);
  }
  return found;
}

// ".It Fl -cache-size Ar SIZE" or ".It Fl f , Fl -foreground".
std::set<std::string> documented_flags(const std::string& text) {
  return matches(text, std::regex(R"(\n\.It (?:Fl \w , )?Fl -([a-z-]+))"));
}

std::set<std::string> options_of(unsigned commands) {
  std::set<std::string> names;
  for (const OptionSpec& spec : option_table()) {
    if ((spec.commands & commands) != 0) names.insert(std::string(spec.name));
  }
  return names;
}

TEST_CASE("manual: sluice-mount(8) documents every option of the gateway and no other", "[tools][manual]") {
  CHECK(documented_flags(page("sluice-mount.8")) == options_of(kGatewayCommands));
}

TEST_CASE("manual: sluice(1) documents every option of the other commands and no other", "[tools][manual]") {
  CHECK(documented_flags(page("sluice.1")) == options_of(~kGatewayCommands));
}

TEST_CASE("manual: sluice.conf(5) lists every key and no other", "[tools][manual]") {
  std::set<std::string> keys = options_of(kGatewayCommands);
  keys.erase("config");
  CHECK(matches(page("sluice.conf.5"), std::regex(R"(\n\.It Cm ([a-z-]+))")) == keys);
}

// From the entry's ".It" up to the next one.
std::string entry_of(const std::string& text, const std::string& head) {
  std::smatch match;
  if (!std::regex_search(text, match, std::regex("\n\\.It (Fl \\w , )?" + head + "[ \n]"))) return {};
  const size_t start = static_cast<size_t>(match.position()) + 1;
  return text.substr(start, text.find("\n.It ", start) - start);
}

TEST_CASE("manual: an option's entry gives its default", "[tools][manual]") {
  for (const OptionSpec& spec : option_table()) {
    if ((spec.commands & kGatewayCommands) == 0 || spec.by_default.empty()) continue;
    const std::string name(spec.name);
    for (const std::string& entry :
         {entry_of(page("sluice-mount.8"), "Fl -" + name), entry_of(page("sluice.conf.5"), "Cm " + name)}) {
      INFO(name << ": " << entry);
      CHECK(entry.find(std::string(spec.by_default)) != std::string::npos);
    }
  }
}

TEST_CASE("manual: the version is that of the build", "[tools][manual]") {
  const Result<std::string> cmake = read_text_file(std::string(SLUICE_SOURCE_DIR) + "/CMakeLists.txt");
  REQUIRE(cmake);
  CHECK(cmake->find(std::string("VERSION ") + kVersion + " ") != std::string::npos);
}

}  // namespace
}  // namespace sluice
