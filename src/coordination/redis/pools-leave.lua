-- Gives back a slot of an account, or leaves the pool's line if it has not come to that. Nothing happens when it is neither.
--
-- KEYS[1]  hg:{pools}
-- ARGV     slot, now, then for each account of which it may be a slot: account, its meters to correct of one that was never served

local slot, nowMs = ARGV[1], tonumber(ARGV[2])
leaveLine(slot)
for i = 3, #ARGV, 2 do
  local account, running = ARGV[i], root .. ':run:' .. ARGV[i]
  local value = redis.call('HGET', running, slot)
  if value then
    redis.call('HDEL', running, slot)
    -- With more than its generation, it was never taken from the meters.
    if not string.find(value, ' ', 1, true) then correct(ARGV[i + 1], nowMs) end
    advance(account, nowMs)
  end
end
