-- Takes from every meter, or from none.
--
-- KEYS     hg:{OWNER}:meter:NAME, each of the same owner
-- ARGV     now, then for each meter: what it holds, how much to take
-- Returns  nothing, or the number of the fullest meter from 1 on, and in how many milliseconds it has room

local nowMs = tonumber(ARGV[1])
local fullest, longestMs, levels = 0, 0, {}
for i, key in ipairs(KEYS) do
  local perMinute, amount = tonumber(ARGV[2 * i]), tonumber(ARGV[2 * i + 1])
  levels[i] = levelOf(key, perMinute, nowMs)
  -- One call may be larger than a whole minute's worth: it needs a full meter, and leaves a debt.
  local missing = math.min(amount, perMinute) - levels[i]
  local afterMs = math.ceil(missing * minuteMs / perMinute)
  if missing > 0 and afterMs > longestMs then fullest, longestMs = i, afterMs end
end
if fullest > 0 then return { fullest, longestMs } end
for i, key in ipairs(KEYS) do write(key, levels[i] - tonumber(ARGV[2 * i + 1]), tonumber(ARGV[2 * i]), nowMs) end
return false
