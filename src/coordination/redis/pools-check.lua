-- What became of slots that were waited for: a notification may have been lost, a rest may be over.
--
-- KEYS[1]  hg:{pools}
-- ARGV     now, then for each slot: slot, its accounts (",A,B,")
-- Returns  when the first rest of any of the accounts ends, or 0; then for each slot: taken and the account, and when its rates
--          had no room the name of the fullest meter and in how many milliseconds it has; waiting; or gone when nobody knows it

local nowMs, every, found = tonumber(ARGV[1]), ',', {}
for i = 2, #ARGV, 2 do
  for account in accountsIn(ARGV[i + 1]) do
    if not string.find(every, ',' .. account .. ',', 1, true) then
      every = every .. account .. ','
      advance(account, nowMs)
    end
  end
end
for i = 2, #ARGV, 2 do
  local state = redis.call('EXISTS', root .. ':entry:' .. ARGV[i]) == 1 and 'waiting' or 'gone'
  if state == 'gone' then
    for account in accountsIn(ARGV[i + 1]) do
      local value = redis.call('HGET', root .. ':run:' .. account, ARGV[i])
      if value then state = 'taken ' .. account .. string.match(value, '^%d+(.*)$') end
    end
  end
  found[#found + 1] = state
end
return { tostring(wakesAt(every, nowMs)), unpack(found) }
