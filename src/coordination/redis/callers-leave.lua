-- Gives back a slot, or leaves the line if it has not come to that. Nothing happens when it is neither.
--
-- KEYS[1]  hg:{user:ID}
-- ARGV     slot

if not free(ARGV[1]) then leaveLine(ARGV[1]) end
advance()
