-- Gives back a slot of an account, or leaves the pool's line if it has not come to that. Nothing happens when it is neither.
--
-- KEYS[1]  hg:{pools}
-- ARGV     slot, now, then the accounts of which it may be a slot

leaveLine(ARGV[1])
for i = 3, #ARGV do
  if redis.call('HDEL', root .. ':run:' .. ARGV[i], ARGV[1]) == 1 then advance(ARGV[i], tonumber(ARGV[2])) end
end
