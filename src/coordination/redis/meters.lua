-- What the operations on meters have in common. It is put in front of each script named meters-….
--
-- A meter holds a minute's worth and refills evenly. One that nobody touches until it is full need not be remembered.
--
-- KEYS     hg:{OWNER}:meter:NAME, a hash: level (below zero when more was used than was asked for), at (when that was so)

local minuteMs = 60000

local function levelOf(key, perMinute, nowMs)
  local state = redis.call('HMGET', key, 'level', 'at')
  if not state[1] then return perMinute end
  -- A node whose clock is behind by a little takes nothing away.
  local passedMs = math.max(0, nowMs - tonumber(state[2]))
  return math.min(perMinute, tonumber(state[1]) + passedMs * perMinute / minuteMs)
end

local function write(key, level, perMinute, nowMs)
  local at = math.max(nowMs, tonumber(redis.call('HGET', key, 'at') or '0'))
  redis.call('HSET', key, 'level', string.format('%.17g', level), 'at', string.format('%.17g', at))
  redis.call('PEXPIRE', key, math.ceil((perMinute - level) / perMinute * minuteMs) + minuteMs)
end
