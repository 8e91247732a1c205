// Going to the background: the command the user typed returns when the mount answers, or with the one line that says
// why not.
#pragma once

#include <optional>

#include "tools/complaint.h"

namespace sluice {

// Standard descriptors that the caller had closed become /dev/null, so that no file of ours takes their numbers. Call
// first.
void open_standard_descriptors();

// Where a starting gateway says how it went: to the waiting parent, or to the terminal in the foreground.
class StartReport {
 public:
  StartReport() = default;  // foreground
  explicit StartReport(int pipe) : pipe_(pipe) {}

  // False: whoever started us is gone (interrupted) and does not want it any more.
  bool ready();
  void failed(const Complaint& complaint);

 private:
  int pipe_ = -1;
};

// Forks; no thread may exist yet. In the child returns nothing: a session of its own, "/" as directory, and `report`
// tells the parent. In the parent waits for that word, tells a complaint, and returns the exit code.
std::optional<int> go_to_background(StartReport& report);

}  // namespace sluice
