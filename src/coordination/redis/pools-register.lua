-- Says of slots that they run, whatever the limits are: their process was away, and they ran on.
--
-- KEYS[1]  hg:{pools}
-- ARGV     generation, now, then for each slot: slot, account, the account's slots
-- Returns  how many of them are over their account's limit

local over = 0
for i = 3, #ARGV, 3 do
  local slot, account, slots = ARGV[i], ARGV[i + 1], tonumber(ARGV[i + 2])
  redis.call('HDEL', root .. ':run:' .. account, slot)
  if slots > 0 and takenOf(account) >= slots then over = over + 1 end
  take(account, slot, ARGV[1], ARGV[2])
end
return over
