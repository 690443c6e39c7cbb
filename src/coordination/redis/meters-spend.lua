-- Takes from every meter, or from none.
--
-- KEYS[1]  hg:{OWNER}
-- ARGV     the meters, now
-- Returns  nothing, or the name of the fullest meter, and in how many milliseconds it has room

return spend(ARGV[1], tonumber(ARGV[2])) or false
