// The manual and the options table say the same.
#include <cstdio>
#include <cstdlib>
#include <map>
#include <set>
#include <sstream>
#include <string>

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

std::string subject_of(const std::string& line, const std::string& macro) {
  std::istringstream words(line);
  std::string previous;
  for (std::string word; words >> word; previous = word) {
    if (previous == macro && macro == "Cm") return word;
    if (previous == macro && word.starts_with('-')) return word.substr(1);
  }
  return {};
}

// Entries of lists by what they are about: ".It Fl f , Fl -foreground" is "foreground", with `macro` "Cm" ".It Cm ro =
// ..." is "ro". Single letters are left out.
std::map<std::string, std::string> entries(const std::string& text, const std::string& macro) {
  std::map<std::string, std::string> found;
  std::istringstream lines(text);
  std::string current;
  for (std::string line; std::getline(lines, line);) {
    if (line == ".El") current.clear();
    if (line.starts_with(".It ")) current = subject_of(line, macro);
    if (!current.empty()) found[current] += line + "\n";
  }
  return found;
}

std::set<std::string> names(const std::map<std::string, std::string>& entries) {
  std::set<std::string> names;
  for (const auto& [name, text] : entries) names.insert(name);
  return names;
}

std::set<std::string> options_of(unsigned commands) {
  std::set<std::string> names;
  for (const OptionSpec& spec : option_table()) {
    if ((spec.commands & commands) != 0) names.insert(std::string(spec.name));
  }
  return names;
}

TEST_CASE("manual: sluice-mount(8) documents every option of the gateway and no other", "[tools][manual]") {
  CHECK(names(entries(page("sluice-mount.8"), "Fl")) == options_of(kGatewayCommands));
}

TEST_CASE("manual: sluice(1) documents every option of the other commands and no other", "[tools][manual]") {
  CHECK(names(entries(page("sluice.1"), "Fl")) == options_of(~kGatewayCommands));
}

TEST_CASE("manual: sluice.conf(5) lists every key and no other", "[tools][manual]") {
  std::set<std::string> keys = options_of(kGatewayCommands);
  keys.erase("config");
  CHECK(names(entries(page("sluice.conf.5"), "Cm")) == keys);
}

TEST_CASE("manual: an option's entry gives its default", "[tools][manual]") {
  auto options = entries(page("sluice-mount.8"), "Fl");
  auto keys = entries(page("sluice.conf.5"), "Cm");
  for (const OptionSpec& spec : option_table()) {
    if ((spec.commands & kGatewayCommands) == 0 || spec.by_default.empty()) continue;
    const std::string name(spec.name);
    const std::string below = keys[name].substr(keys[name].find('\n') + 1);  // the line itself names all choices
    INFO(options[name] << keys[name]);
    CHECK(options[name].find(spec.by_default) != std::string::npos);
    CHECK(below.find(spec.by_default) != std::string::npos);
  }
}

// What mandoc says, but for what depends on the other manuals that are installed.
std::string lint(const std::string& name) {
  const std::string command = std::string("mandoc -Tlint -Wstyle '") + SLUICE_SOURCE_DIR + "/man/" + name +
                              "' 2>&1 | grep -v -e 'referenced manual not found' -e 'mandoc.db'";
  std::string said;
  FILE* pipe = ::popen(command.c_str(), "r");
  REQUIRE(pipe != nullptr);
  for (int c = std::fgetc(pipe); c != EOF; c = std::fgetc(pipe)) said += static_cast<char>(c);
  ::pclose(pipe);
  return said;
}

TEST_CASE("manual: mandoc finds nothing", "[tools][manual]") {
  if (std::system("command -v mandoc >/dev/null") != 0) {
    WARN("mandoc is not installed");
    return;
  }
  for (const char* name : {"sluice.1", "sluice-mount.8", "sluice.conf.5", "sluice-http.7", "sluice-internals.7",
                           "sluice-nfs.7", "sluice-performance.7"})
    CHECK(lint(name) == "");
}

TEST_CASE("manual: the version is that of the build", "[tools][manual]") {
  const Result<std::string> cmake = read_text_file(std::string(SLUICE_SOURCE_DIR) + "/CMakeLists.txt");
  REQUIRE(cmake);
  CHECK(cmake->find(std::string("VERSION ") + kVersion + " ") != std::string::npos);
}

}  // namespace
}  // namespace sluice
