// Which names of hosts a request may carry, in its Host field or an absolute target. They choose nothing here; a name
// that another server on the way could read as another one is refused all the same.
#pragma once

#include <string_view>

namespace sluice {

// uri-host [ ":" port ] of RFC 3986: a name, an IPv4 address or an IP literal in brackets. No user, no empty labels in
// the middle ("a..b"), no comma, which joins two fields. The host may be empty, the port too.
bool is_authority(std::string_view text);

}  // namespace sluice
