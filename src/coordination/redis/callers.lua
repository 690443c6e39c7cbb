-- What the operations on one user's line have in common. It is put in front of each script named callers-…, behind meters.lua.
--
-- KEYS[1]  hg:{user:ID}, from which these are named:
--   :run     hash   slot → "generation key"; what runs
--   :keys    hash   key → how many of its calls run
--   :line    zset   slot by its place; who waits, oldest first
--   :wait    hash   slot → "generation key"
--   :limits  hash   user, and key:ID → the newest limit anybody named, while somebody waits; 0 or less is no limit
--
-- A slot is named PROCESS:NUMBER. The generation says in which life of its process it was taken.

local run, keys, line = KEYS[1] .. ':run', KEYS[1] .. ':keys', KEYS[1] .. ':line'
local wait, limits = KEYS[1] .. ':wait', KEYS[1] .. ':limits'

local function processOf(slot)
  return string.match(slot, '^[^:]+')
end

local function read(value)
  return string.match(value, '^(%d+) (.*)$')
end

local function limitOf(name)
  return tonumber(redis.call('HGET', limits, name) or '0')
end

local function nameLimits(key, userSlots, keySlots)
  redis.call('HSET', limits, 'user', userSlots, 'key:' .. key, keySlots)
end

local function userFits(userSlots)
  return userSlots <= 0 or redis.call('HLEN', run) < userSlots
end

local function keyFits(key, keySlots)
  return keySlots <= 0 or tonumber(redis.call('HGET', keys, key) or '0') < keySlots
end

local function take(slot, generation, key)
  redis.call('HSET', run, slot, generation .. ' ' .. key)
  redis.call('HINCRBY', keys, key, 1)
end

-- Whether it ran.
local function free(slot)
  local value = redis.call('HGET', run, slot)
  if not value then return false end
  local _, key = read(value)
  redis.call('HDEL', run, slot)
  if redis.call('HINCRBY', keys, key, -1) <= 0 then redis.call('HDEL', keys, key) end
  return true
end

-- Whether it waited.
local function leaveLine(slot)
  local waited = redis.call('ZREM', line, slot) == 1
  redis.call('HDEL', wait, slot)
  if redis.call('ZCARD', line) == 0 then redis.call('DEL', limits) end
  return waited
end

-- Gives what is free to the oldest who may have it. One whose key is full does not hold up the user's other keys.
local function advance()
  if redis.call('ZCARD', line) == 0 then return end
  local userSlots = limitOf('user')
  for _, slot in ipairs(redis.call('ZRANGE', line, 0, -1)) do
    if not userFits(userSlots) then return end
    local generation, key = read(redis.call('HGET', wait, slot))
    if keyFits(key, limitOf('key:' .. key)) then
      leaveLine(slot)
      take(slot, generation, key)
      redis.call('PUBLISH', 'hg:to:' .. processOf(slot), 'caller ' .. slot)
    end
  end
end
