// What a client wants to see, by its Accept field.
#pragma once

#include <string_view>

namespace sluice {

// Whether `accept` names application/json, and with more weight than text/html. Ranges ("*/*") name nothing: who does
// not care gets what people can read.
bool prefers_json(std::string_view accept);

}  // namespace sluice
