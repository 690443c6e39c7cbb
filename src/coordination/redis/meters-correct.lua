-- Corrects meters afterwards, without a limit.
--
-- KEYS     hg:{OWNER}:meter:NAME, each of the same owner
-- ARGV     now, then for each meter: what it holds, how much to take; below zero gives back

local nowMs = tonumber(ARGV[1])
for i, key in ipairs(KEYS) do
  local perMinute = tonumber(ARGV[2 * i])
  write(key, math.min(perMinute, levelOf(key, perMinute, nowMs) - tonumber(ARGV[2 * i + 1])), perMinute, nowMs)
end
