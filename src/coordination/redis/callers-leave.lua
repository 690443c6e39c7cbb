-- Gives back a slot, or leaves the line if it has not come to that. Nothing happens when it is neither.
--
-- KEYS[1]  hg:{user:ID}
-- ARGV     slot, now, the meters to correct of one that was never served

if free(ARGV[1]) or leaveLine(ARGV[1]) then correct(ARGV[3], tonumber(ARGV[2])) end
advance()
