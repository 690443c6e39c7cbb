-- How accounts fare. What the asker knows already is not said again.
--
-- KEYS[1]  hg:{pools}
-- ARGV     for each account: account, the version of its condition that the asker has
-- Returns  for each: version, condition (JSON; empty when the versions are the same), taken, when last used

local found = {}
for i = 1, #ARGV, 2 do
  local state = redis.call('HMGET', accountKey(ARGV[i]), 'version', 'condition', 'used')
  local version = state[1] or '0'
  found[#found + 1] = { version, version == ARGV[i + 1] and '' or state[2] or '', takenOf(ARGV[i]), state[3] or '0' }
end
return found
