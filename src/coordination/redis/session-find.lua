-- The account that a session is bound to; renews the binding.
--
-- KEYS[1]  hg:session:HASH, a text: "until account"
-- ARGV     now, for how long. Milliseconds
-- Returns  the account, or nothing

local untilMs, account = string.match(redis.call('GET', KEYS[1]) or '', '^(%d+) (.*)$')
if not untilMs or tonumber(untilMs) <= tonumber(ARGV[1]) then return false end
redis.call('SET', KEYS[1], string.format('%.0f', ARGV[1] + ARGV[2]) .. ' ' .. account, 'PX', ARGV[2])
return account
