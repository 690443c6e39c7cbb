-- Frees the slots and the places of a process that died.
--
-- KEYS[1]  hg:{pools}
-- ARGV     process, the newest generation that died, now, then every account that has slots taken
-- Returns  how many slots were freed

local nowMs, freed = tonumber(ARGV[3]), 0

local function isDead(slot, generation)
  return string.match(slot, '^[^:]+') == ARGV[1] and tonumber(string.match(generation, '^%d+')) <= tonumber(ARGV[2])
end

for _, pool in ipairs(redis.call('ZRANGE', root .. ':pools', 0, -1)) do
  for _, user in ipairs(redis.call('ZRANGE', root .. ':users:' .. pool, 0, -1)) do
    for _, slot in ipairs(redis.call('ZRANGE', lineKey(pool, user), 0, -1)) do
      if isDead(slot, redis.call('HGET', root .. ':entry:' .. slot, 'generation')) then leaveLine(slot) end
    end
  end
end
for i = 4, #ARGV do
  local running = redis.call('HGETALL', root .. ':run:' .. ARGV[i])
  for j = 1, #running, 2 do
    if isDead(running[j], running[j + 1]) then
      redis.call('HDEL', root .. ':run:' .. ARGV[i], running[j])
      freed = freed + 1
    end
  end
  advance(ARGV[i], nowMs)
end
return freed
