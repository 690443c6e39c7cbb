-- A process ends, and knows it. What it may still hold is freed by whoever looks next.
--
-- KEYS[1]  hg:{nodes}
-- ARGV     process

local time = redis.call('TIME')
if redis.call('ZREM', KEYS[1] .. ':alive', ARGV[1]) == 1 then
  redis.call('HSET', KEYS[1] .. ':dead', ARGV[1], string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000)))
end
