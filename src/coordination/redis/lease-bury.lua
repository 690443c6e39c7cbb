-- Everything of a dead process has been freed, unless it died once more meanwhile.
--
-- KEYS[1]  hg:{nodes}
-- ARGV     process, the generation that was freed

if redis.call('HGET', KEYS[1] .. ':dead', ARGV[1]) == ARGV[2] then redis.call('HDEL', KEYS[1] .. ':dead', ARGV[1]) end
