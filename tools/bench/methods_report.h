// What `sluice bench methods` found, as a table for people and as JSON, with the figures of the textbooks beside it.
//
// The books send 320 MiB. Read and written in pieces of 32 KiB that takes 10,000 reads and as many writes, and each
// call enters the kernel and leaves it: 40,000 switches; every byte is copied four times, by DMA from the disk and to
// the network card, by the CPU from the PageCache to the program and from there to the socket: 1,280 MiB. By sendfile,
// as much at once as a socket buffer of 1.4 MiB takes, it is some 400 switches, and with a card that gathers (SG-DMA)
// both copies that are left, 640 MiB, are DMA's.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

namespace sluice {

// How the system calls of a sender were counted: all threads of its process, those of the kernel's workers for io_uring
// make none.
enum class CallCounting {
  perf,   // by the kernel's tracepoint, in the run that was timed
  trace,  // by ptrace(2), in a run of its own: the sender is slower there and waits less often
  own,    // by the sender itself, where neither is allowed; Sluice's own code does not count
};

struct MethodRow {
  std::string method;
  std::string title;
  bool warm = false;
  uint64_t bytes = 0;
  std::string refused;  // why this system does not let it run; then there are no figures

  std::optional<uint64_t> calls;      // system calls of the sender
  std::optional<uint64_t> own_calls;  // ... as the sender counted them itself, in the same run
  CallCounting counting = CallCounting::perf;
  uint64_t context_switches = 0;    // of the sender
  uint64_t copied_bytes = 0;        // by the sender's CPU
  std::optional<uint64_t> waits;    // Sluice: how often it slept because the socket took no more, or held too much
  double seconds = 0;               // until the receiver had the last byte
  double sender_cpu_seconds = 0;    // kernel workers included
  double receiver_cpu_seconds = 0;  // the digest that it makes included
  uint64_t page_cache_pages = 0;    // of the file, left behind
};

// Of one file of this size.
struct TextbookFigures {
  uint64_t switches = 0;
  uint64_t copied_bytes = 0;      // DMA included
  uint64_t cpu_copied_bytes = 0;  // of them
};
// Nothing: the books have no figures for this method.
std::optional<TextbookFigures> textbook_figures(const std::string& method, uint64_t bytes);

// The most system calls that Sluice is to need for a row; nothing for other rows. By SEND_ZC fewer than 400 for 320
// MiB; by a pipe two for each MiB and three for each wait (look at the socket's queue, sleep, go on), beside what its
// other threads do and what it takes to look now and then what clients hold: 4, and 1 for each 16 MiB.
std::optional<uint64_t> calls_goal(const MethodRow& row);

std::string methods_table(const std::vector<MethodRow>& rows);
nlohmann::ordered_json methods_json(const std::vector<MethodRow>& rows);

}  // namespace sluice
