-- Replaces the condition of an account, unless somebody else did since it was read.
--
-- KEYS[1]  hg:{pools}
-- ARGV     account, the version that was read, condition (JSON), rest, out (1 or 0), now
-- Returns  1 and the new version, or 0 and the version there is; then the condition there is when it was not replaced, taken,
--          when last used

local key = accountKey(ARGV[1])
local state = redis.call('HMGET', key, 'version', 'condition', 'used')
local version = state[1] or '0'
if version ~= ARGV[2] then return { 0, version, state[2] or '', takenOf(ARGV[1]), state[3] or '0' } end

version = tostring(redis.call('HINCRBY', key, 'version', 1))
redis.call('HSET', key, 'condition', ARGV[3], 'rest', ARGV[4], 'out', ARGV[5])
advance(ARGV[1], tonumber(ARGV[6]))
return { 1, version, '', takenOf(ARGV[1]), redis.call('HGET', key, 'used') or '0' }
