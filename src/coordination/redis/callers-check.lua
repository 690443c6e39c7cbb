-- What became of slots that were waited for: a notification may have been lost.
--
-- KEYS[1]  hg:{user:ID}
-- ARGV     slots
-- Returns  for each: taken, waiting, or gone when nobody knows it

advance()
local found = {}
for i, slot in ipairs(ARGV) do
  if redis.call('HEXISTS', run, slot) == 1 then
    found[i] = 'taken'
  else
    found[i] = redis.call('HEXISTS', wait, slot) == 1 and 'waiting' or 'gone'
  end
end
return found
