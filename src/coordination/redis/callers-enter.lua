-- Takes the slots of a user and of a key together, or stands in the user's line for them, and spends what the call takes of rates:
-- all of it, or nothing is taken and nobody waits.
--
-- KEYS[1]  hg:{user:ID}
-- ARGV     slot, generation, key, the user's slots, the key's slots, how many may wait, now, the meters
-- Returns  taken, full or waiting; or over, the name of the fullest meter, and in how many milliseconds it has room

local slot, generation, key = ARGV[1], ARGV[2], ARGV[3]
local userSlots, keySlots = tonumber(ARGV[4]), tonumber(ARGV[5])

if redis.call('ZCARD', line) > 0 then
  nameLimits(key, userSlots, keySlots)
  advance()
end
local isFree = userFits(userSlots) and keyFits(key, keySlots)
if not isFree and redis.call('ZCARD', line) >= tonumber(ARGV[6]) then return { 'full' } end

local over = spend(ARGV[8], tonumber(ARGV[7]))
if over then return { 'over', over[1], tostring(over[2]) } end
if isFree then
  take(slot, generation, key)
  return { 'taken' }
end

local last = redis.call('ZREVRANGE', line, 0, 0, 'WITHSCORES')
redis.call('ZADD', line, tonumber(last[2] or '0') + 1, slot)
redis.call('HSET', wait, slot, generation .. ' ' .. key)
nameLimits(key, userSlots, keySlots)
return { 'waiting' }
