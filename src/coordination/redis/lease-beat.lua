-- Says that a process is alive, and learns who else is. Time is the server's, so no process's clock matters.
--
-- KEYS[1]  hg:{nodes}, from which these are named:
--   :alive  zset   process by when it last said so
--   :dead   hash   process → the newest generation of it whose slots nobody has freed yet
-- ARGV     process, after how many milliseconds of silence a process counts as dead
-- Returns  now; 1 if this process was not known, or no longer; the generation it has then; how many are alive;
--          then each that is dead, and its generation

local alive, dead = KEYS[1] .. ':alive', KEYS[1] .. ':dead'
local time = redis.call('TIME')
local nowMs = time[1] * 1000 + math.floor(time[2] / 1000)

local isNew = not redis.call('ZSCORE', alive, ARGV[1])
redis.call('ZADD', alive, nowMs, ARGV[1])
for _, process in ipairs(redis.call('ZRANGEBYSCORE', alive, '-inf', nowMs - ARGV[2])) do
  redis.call('ZREM', alive, process)
  redis.call('HSET', dead, process, string.format('%.0f', nowMs))
end
-- Newer than whatever is freed of its former life.
local generation = math.max(nowMs, tonumber(redis.call('HGET', dead, ARGV[1]) or '0') + 1)
local text = string.format('%.0f', generation)
return { string.format('%.0f', nowMs), isNew and 1 or 0, text, redis.call('ZCARD', alive), unpack(redis.call('HGETALL', dead)) }
