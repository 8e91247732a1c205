#include "net/http/accept.h"

#include <strings.h>

#include <algorithm>

namespace sluice {
namespace {

std::string_view next_element(std::string_view& list, char separator) {
  const size_t end = std::min(list.find(separator), list.size());
  std::string_view element = list.substr(0, end);
  list.remove_prefix(std::min(end + 1, list.size()));
  const size_t first = std::min(element.find_first_not_of(" \t"), element.size());
  element.remove_prefix(first);
  return element.substr(0, element.find_last_not_of(" \t") + 1);
}

bool equals_ignoring_case(std::string_view a, std::string_view b) {
  return a.size() == b.size() && ::strncasecmp(a.data(), b.data(), a.size()) == 0;
}

// "0.5" is 500; what is no weight of RFC 9110 counts as 0.
int weight_of(std::string_view text) {
  if (text.empty() || text.size() > 5 || (text[0] != '0' && text[0] != '1')) return 0;
  if (text.size() > 1 && text[1] != '.') return 0;
  int weight = text[0] == '1' ? 1000 : 0;
  int unit = 100;
  for (const char digit : text.substr(std::min<size_t>(2, text.size()))) {
    if (digit < '0' || digit > '9') return 0;
    weight += (digit - '0') * unit;
    unit /= 10;
  }
  return std::min(weight, 1000);
}

int weight_in(std::string_view accept, std::string_view type) {
  while (!accept.empty()) {
    std::string_view element = next_element(accept, ',');
    if (!equals_ignoring_case(next_element(element, ';'), type)) continue;
    while (!element.empty()) {
      const std::string_view parameter = next_element(element, ';');
      if (parameter.starts_with("q=") || parameter.starts_with("Q=")) return weight_of(parameter.substr(2));
    }
    return 1000;
  }
  return 0;
}

}  // namespace

bool prefers_json(std::string_view accept) {
  return weight_in(accept, "application/json") > weight_in(accept, "text/html");
}

}  // namespace sluice
