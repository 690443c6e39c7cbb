-- Frees the slots and the places of a process that died.
--
-- KEYS[1]  hg:{user:ID}
-- ARGV     process, the newest generation that died: a process that came back has a newer one
-- Returns  how many slots were freed

local function isDead(slot, value)
  return processOf(slot) == ARGV[1] and tonumber((read(value))) <= tonumber(ARGV[2])
end

local running, freed = redis.call('HGETALL', run), 0
for i = 1, #running, 2 do
  if isDead(running[i], running[i + 1]) then
    free(running[i])
    freed = freed + 1
  end
end
local waiting = redis.call('HGETALL', wait)
for i = 1, #waiting, 2 do
  if isDead(waiting[i], waiting[i + 1]) then leaveLine(waiting[i]) end
end
advance()
return freed
