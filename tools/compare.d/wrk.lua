-- Asks for one of many files at random where told of them (-- COUNT PER_FOLDER: see SmallFiles in files.py), and prints what
-- wrk measured as one line of JSON.
local count, per_folder

function init(words)
  count, per_folder = tonumber(words[1]), tonumber(words[2])
  if count == nil then
    local same = wrk.format()
    request = function() return same end
  end
end

function request()
  local number = math.random(0, count - 1)
  return wrk.format("GET", wrk.path .. "/" .. math.floor(number / per_folder) .. "/" .. number)
end

done = function(summary, latency, requests)
  local errors = summary.errors
  local failed = errors.connect + errors.read + errors.write + errors.status + errors.timeout
  io.write(string.format('\n{"requests": %d, "microseconds": %d, "errors": %d, "bytes": %d, "p50_us": %d, "p99_us": %d}\n',
    summary.requests, summary.duration, failed, summary.bytes, latency:percentile(50), latency:percentile(99)))
end
