// What `sluice bench methods` found, as a picture: a line for each method, cold and warm, and a panel of bars for each
// figure. A whole SVG document that needs nothing else.
#pragma once

#include <string>
#include <vector>

#include "tools/bench/methods_report.h"

namespace sluice {

std::string methods_svg(const std::vector<MethodRow>& rows);

}  // namespace sluice
