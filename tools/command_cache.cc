#include "tools/command_cache.h"

#include <unistd.h>

#include <array>
#include <cinttypes>
#include <cstdio>
#include <cstdlib>

#include "tools/cache_work.h"
#include "tools/option_values.h"
#include "tools/running.h"

namespace sluice {
namespace {

constexpr uint64_t kBarWidth = 30;

// On a terminal, in one line that is written again and again; nothing elsewhere.
class ProgressBar {
 public:
  ~ProgressBar() { clear(); }
  void show(const std::string& line) {
    uint64_t files = 0, files_max = 0, bytes = 0, bytes_max = 0;
    if (!on_terminal_ || std::sscanf(line.c_str(), "progress %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64, &files,
                                     &files_max, &bytes, &bytes_max) != 4) {
      return;
    }
    if (bytes_max == 0) return;  // only a sign of life
    const uint64_t done = bytes_max == 0 ? 0 : std::min(kBarWidth, bytes * kBarWidth / bytes_max);
    fmt::print(stderr, "\r\033[K[{:-<{}}] {} of {}, {} of {} files", std::string(done, '#'), kBarWidth,
               format_size_rounded(bytes), format_size_rounded(bytes_max), files, files_max);
    std::fflush(stderr);
    shown_ = true;
  }
  void clear() {
    if (shown_) fmt::print(stderr, "\r\033[K");
    shown_ = false;
  }

 private:
  const bool on_terminal_ = ::isatty(STDERR_FILENO) == 1;
  bool shown_ = false;
};

// Prints what the gateway did.
Checked<> ask(const RunningGateway& gateway, const std::vector<std::string>& words) {
  ProgressBar bar;
  std::string last;
  const bool whole = ask_for_cache_work(gateway.socket_path, words, [&](std::string_view line) {
    last = line;
    bar.show(last);
  });
  bar.clear();
  if (last.starts_with("error: ")) return complain("{}", last.substr(7));
  if (!whole || !last.starts_with("done ")) {
    return complain("the gateway (pid {}) went away or does not answer at {}", gateway.pid, gateway.socket_path);
  }
  fmt::print("{}\n", last.substr(5));
  return {};
}

Checked<> do_files(const std::string& action, const std::vector<std::string>& paths) {
  for (const std::string& path : paths) {
    const FileOfGateway file = TRY(find_file(path));
    TRY(ask(file.gateway, {action, file.path}));
  }
  return {};
}

Checked<> do_drop(const std::vector<std::string>& operands, bool dirty) {
  return ask(TRY(find_running(operands.empty() ? "" : operands[0])), {dirty ? "drop-dirty" : "drop"});
}

Checked<> do_resize(const std::vector<std::string>& operands) {
  const uint64_t bytes = TRY(parse_size(operands[0]));
  return ask(TRY(find_running(operands.size() == 1 ? "" : operands[1])), {"resize", format_size(bytes)});
}

// Whether the words make sense, before any gateway is looked for.
Checked<> check(const CommandLine& line) {
  const std::string& action = line.action;
  if (line.options.dirty && action != "drop") return complain("--dirty: only 'cache drop' knows it; leave it out");
  if (find_cache_verb(action)) {
    if (line.paths.empty()) return complain("cache {} takes PATH...; see 'sluice help cache'", action);
    return {};
  }
  if (action == "drop") {
    if (line.paths.size() > 1) return complain("cache drop takes [TARGET]; see 'sluice help cache'");
    return {};
  }
  if (action == "resize") {
    if (line.paths.empty() || line.paths.size() > 2)
      return complain("cache resize takes SIZE [TARGET], SIZE as for --cache-size; see 'sluice help cache'");
    const Checked<uint64_t> bytes = parse_size(line.paths[0]);
    if (!bytes) return complain("cache resize: {}", bytes.error().line);
    return {};
  }
  const std::string_view nearest = nearest_word(action, {"warm", "pin", "unpin", "evict", "drop", "resize"});
  if (nearest.empty()) return complain("cache {}: no such action; see 'sluice help cache'", action);
  return complain("cache {}: no such action; did you mean '{}'?", action, nearest);
}

Checked<> run(const CommandLine& line) {
  if (line.action == "drop") return do_drop(line.paths, line.options.dirty);
  if (line.action == "resize") return do_resize(line.paths);
  return do_files(line.action, line.paths);
}

}  // namespace

int run_cache(const CommandLine& line) {
  const Checked<> understood = check(line);
  const Checked<> done = understood ? run(line) : understood;
  if (done) return EXIT_SUCCESS;
  tell(done.error());
  return understood ? EXIT_FAILURE : kExitUsage;
}

}  // namespace sluice
