-- Takes the slots of a user and of a key together, or stands in the user's line for them.
--
-- KEYS[1]  hg:{user:ID}
-- ARGV     slot, generation, key, the user's slots, the key's slots, how many may wait
-- Returns  taken, full or waiting

local slot, generation, key = ARGV[1], ARGV[2], ARGV[3]
local userSlots, keySlots = tonumber(ARGV[4]), tonumber(ARGV[5])

if redis.call('ZCARD', line) > 0 then
  nameLimits(key, userSlots, keySlots)
  advance()
end
if userFits(userSlots) and keyFits(key, keySlots) then
  take(slot, generation, key)
  return 'taken'
end
if redis.call('ZCARD', line) >= tonumber(ARGV[6]) then return 'full' end

local last = redis.call('ZREVRANGE', line, 0, 0, 'WITHSCORES')
redis.call('ZADD', line, tonumber(last[2] or '0') + 1, slot)
redis.call('HSET', wait, slot, generation .. ' ' .. key)
nameLimits(key, userSlots, keySlots)
return 'waiting'
