-- Whoever of this user's waits does so under these limits from now on.
--
-- KEYS[1]  hg:{user:ID}
-- ARGV     key, the user's slots, the key's slots

if redis.call('ZCARD', line) == 0 then return end
nameLimits(ARGV[1], ARGV[2], ARGV[3])
advance()
