#include "tools/complaint.h"

#include <cstdio>

namespace sluice {

void tell(const Complaint& complaint) {
  fmt::print(stderr, "sluice: {}\n", complaint.line);
}

}  // namespace sluice
