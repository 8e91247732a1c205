#include "tools/command_line.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <filesystem>
#include <optional>

#include "cache/result.h"
#include "tools/option_values.h"

namespace sluice {
namespace {

constexpr std::array kCommands = {Command::mount, Command::serve, Command::umount, Command::status, Command::cache,
                                  Command::sim,   Command::bench, Command::help,   Command::version};

constexpr std::array<std::string_view, 5> kBenches = {"cache", "fuse", "methods", "nfs", "ceiling"};

struct Operands {
  size_t least;
  size_t most;
  std::string_view text;
};

Operands operands_of(Command command) {
  switch (command) {
    case Command::mount: return {2, 2, "SOURCE MOUNTPOINT"};
    case Command::serve: return {1, 1, "SOURCE"};
    case Command::umount: return {1, 1, "MOUNTPOINT"};
    case Command::status: return {0, 1, "[TARGET]"};
    case Command::cache: return {1, SIZE_MAX, "an action and what it needs"};
    case Command::sim: return {1, 1, "TRACE"};
    case Command::bench: return {1, 3, "WHAT (cache, fuse, methods, nfs URL, or ceiling FILE MOUNTPOINT)"};
    case Command::help: return {0, 1, "[COMMAND]"};
    case Command::version: return {0, 0, "no operands"};
  }
  return {};
}

Checked<Command> find_command(std::string_view name) {
  if (name == "-h" || name == "--help") return Command::help;
  if (name == "-V" || name == "--version") return Command::version;
  std::vector<std::string_view> known;
  for (const Command command : kCommands) {
    if (command_name(command) == name) return command;
    known.push_back(command_name(command));
  }
  const std::string_view nearest = nearest_word(name, known);
  if (nearest.empty()) return complain("'{}' is not a command; 'sluice help' lists them", name);
  return complain("'{}' is not a command; did you mean '{}'?", name, nearest);
}

// CLI11's parser of one command's arguments, with the options of the table. Values stay text until all are known.
class Parser {
 public:
  explicit Parser(Command command) : command_(command) {
    app_.set_help_flag();
    app_.allow_extras();
    app_.add_flag("-h,--help", wants_help_);
    if ((command_bit(command) & kGatewayCommands) != 0) {
      mount_options_ = app_.add_option("-o")->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
    }
    for (const OptionSpec& spec : option_table()) {
      if ((spec.commands & command_bit(command)) != 0) add(spec);
    }
    app_.add_option("operands", operands_);
  }

  Checked<> parse(std::vector<std::string> arguments) {
    std::reverse(arguments.begin(), arguments.end());  // as CLI11 wants them
    try {
      app_.parse(arguments);
    } catch (const CLI::ParseError& error) {
      return complain("{}; see 'sluice help {}'", error.what(), command_name(command_));
    }
    for (const std::string& extra : app_.remaining()) {
      if (extra == "--") continue;
      const std::string name = extra.substr(0, extra.find('='));
      const size_t start = std::min(name.find_first_not_of('-'), name.size());
      return complain("{}: no such option{}", name, suggestion(name.substr(start), command_bit(command_)));
    }
    return {};
  }

  // The file first, so that the command line wins.
  Checked<> apply(Options& options) const {
    const unsigned commands = command_bit(command_);
    Options given;  // only to find --config
    TRY(apply_command_line(given, commands));
    if (!given.config.empty()) TRY(apply_config_file(options, given.config));
    return apply_command_line(options, commands);
  }

  bool wants_help() const { return wants_help_; }
  const std::vector<std::string>& operands() const { return operands_; }

 private:
  struct Given {
    std::string name;
    CLI::Option* option;
  };

  void add(const OptionSpec& spec) {
    const std::string name(spec.name);
    const std::string letter = spec.letter != 0 ? fmt::format("-{},", spec.letter) : "";
    if (spec.kind == OptionKind::boolean) {
      given_.push_back({name, app_.add_flag(fmt::format("{}--{}", letter, name))});
      given_.push_back({"no-" + name, app_.add_flag(fmt::format("--no-{},--no{}", name, name))});
    } else {
      given_.push_back({name, app_.add_option(fmt::format("{}--{}", letter, name))});
    }
    given_.back().option->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  }

  Checked<> apply_command_line(Options& options, unsigned commands) const {
    if (mount_options_ != nullptr) {
      for (const std::string& text : mount_options_->results()) TRY(apply_mount_options(options, commands, text));
    }
    for (const Given& given : given_) {
      if (given.option->count() == 0) continue;
      const std::string value = given.option->results().back();
      TRY(set_option(options, commands, given.name, value, "--" + given.name));
    }
    return {};
  }

  const Command command_;
  CLI::App app_;
  bool wants_help_ = false;
  CLI::Option* mount_options_ = nullptr;
  std::vector<std::string> operands_;
  std::vector<Given> given_;
};

// "--cache_size=4G" is "--cache-size=4G".
std::string with_dashes(std::string argument) {
  if (!argument.starts_with("--")) return argument;
  const size_t end = std::min(argument.find('='), argument.size());
  std::replace(argument.begin(), argument.begin() + static_cast<std::ptrdiff_t>(end), '_', '-');
  return argument;
}

bool is_mount_helper(std::string_view program) {
  return program.substr(program.rfind('/') + 1) == "mount.sluice";  // npos + 1 is 0
}

struct HelperArguments {
  std::vector<std::string> of_mount;
  bool only_check = false;
};

// mount(8) calls its helpers with flags of its own: -s (sloppy), -f (fake), -n (no mtab), -v, -t TYPE, -N NAMESPACE.
HelperArguments translate_helper(const std::vector<std::string>& arguments) {
  HelperArguments translated;
  std::vector<std::string> operands;
  for (size_t i = 1; i < arguments.size(); ++i) {
    const std::string& argument = arguments[i];
    if (argument == "-o" && i + 1 < arguments.size()) {
      translated.of_mount.insert(translated.of_mount.end(), {"-o", arguments[++i]});
    } else if (argument == "-t" || argument == "-N") {
      ++i;
    } else if (argument.size() > 1 && argument[0] == '-' &&
               argument.find_first_not_of("sfnv", 1) == std::string::npos) {
      translated.only_check |= argument.find('f') != std::string::npos;
    } else if (argument.starts_with('-')) {
      translated.of_mount.push_back(argument);
    } else {
      operands.push_back(argument);
    }
  }
  translated.of_mount.insert(translated.of_mount.end(), operands.begin(), operands.end());
  return translated;
}

// What a configuration file may say in the place of operands.
std::vector<std::string> operands_by_option(Command command, const Options& options) {
  std::vector<std::string> operands;
  if (command == Command::mount) operands = {options.source, options.mountpoint};
  if (command == Command::serve) operands = {options.source};
  std::erase(operands, "");
  return operands;
}

Checked<> take_operands(CommandLine& line, const std::vector<std::string>& given) {
  const std::vector<std::string> operands = given.empty() ? operands_by_option(line.command, line.options) : given;
  const Operands wanted = operands_of(line.command);
  const std::string_view name = command_name(line.command);
  if (operands.size() < wanted.least || operands.size() > wanted.most) {
    return complain("{} takes {}; see 'sluice help {}'", name, wanted.text, name);
  }
  switch (line.command) {
    case Command::mount:
      line.source = operands[0];
      line.mountpoint = operands[1];
      break;
    case Command::serve: line.source = operands[0]; break;
    case Command::umount: line.mountpoint = operands[0]; break;
    case Command::status:
      if (!operands.empty()) line.target = operands[0];
      break;
    case Command::cache:
      line.action = operands[0];
      line.paths.assign(operands.begin() + 1, operands.end());
      break;
    case Command::sim: line.trace = operands[0]; break;
    case Command::bench:
      line.action = operands[0];
      line.paths.assign(operands.begin() + 1, operands.end());
      if (std::find(kBenches.begin(), kBenches.end(), line.action) == kBenches.end())
        return complain("bench does not measure '{}'; it knows: {}", line.action, fmt::join(kBenches, ", "));
      if (line.paths.size() != (line.action == "ceiling" ? 2 : line.action == "nfs" ? 1 : 0))
        return complain("bench takes {}; see 'sluice help bench'", wanted.text);
      if (line.options.bench_time.count() == 0) return complain("--seconds: nothing can be measured in no time");
      if (!line.options.bench_svg.empty() && line.action != "methods")
        return complain("--svg: draws methods only; write 'sluice bench --svg FILE methods'");
      if (line.options.bench_size_bytes % (1 << 20) != 0)
        return complain("--size: {} is not whole MiB; write for example 320M",
                        format_size(line.options.bench_size_bytes));
      break;
    case Command::help:
      if (!operands.empty()) line.topic = TRY(find_command(operands[0]));
      break;
    case Command::version: break;
  }
  return {};
}

Checked<CommandLine> parse_command(Command command, const std::vector<std::string>& arguments) {
  CommandLine line;
  line.command = command;
  std::vector<std::string> dashed(arguments);
  std::transform(dashed.begin(), dashed.end(), dashed.begin(), with_dashes);

  Parser parser(command);
  TRY(parser.parse(std::move(dashed)));
  if (parser.wants_help()) {
    line.command = Command::help;
    line.topic = command;
    return line;
  }
  TRY(parser.apply(line.options));
  Options& options = line.options;
  for (std::string* path : {&options.control, &options.trace_out, &options.warm_restart, &options.access_log}) {
    const bool is_stdout = path == &options.access_log && *path == "-";
    if (!path->empty() && !is_stdout) *path = std::filesystem::absolute(*path).string();  // the gateway goes to "/"
  }
  TRY(take_operands(line, parser.operands()));
  return line;
}

}  // namespace

Checked<CommandLine> parse_command_line(const std::vector<std::string>& arguments) {
  if (!arguments.empty() && is_mount_helper(arguments[0])) {
    const HelperArguments translated = translate_helper(arguments);
    CommandLine line = TRY(parse_command(Command::mount, translated.of_mount));
    line.only_check = translated.only_check;
    return line;
  }
  if (arguments.size() < 2) return CommandLine{};
  const Command command = TRY(find_command(arguments[1]));
  return parse_command(command, {arguments.begin() + 2, arguments.end()});
}

}  // namespace sluice
