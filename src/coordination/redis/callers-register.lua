-- Says of slots that they run, whatever the limits are: their process was away, and they ran on.
--
-- KEYS[1]  hg:{user:ID}
-- ARGV     generation, then for each slot: slot, key, the user's slots
-- Returns  how many of them are over the user's limit

local over = 0
for i = 2, #ARGV, 3 do
  free(ARGV[i])
  if not userFits(tonumber(ARGV[i + 2])) then over = over + 1 end
  take(ARGV[i], ARGV[1], ARGV[i + 1])
end
return over
