-- Takes a slot of an account now, or not at all.
--
-- KEYS[1]  hg:{pools}
-- ARGV     slot, generation, account, the account's slots, now
-- Returns  1 or 0, how many are taken, the version of the account's condition

local nowMs = tonumber(ARGV[5])
note(ARGV[3], tonumber(ARGV[4]), nowMs)
local free = isFree(ARGV[3])
if free then take(ARGV[3], ARGV[1], ARGV[2], nowMs) end
return { free and 1 or 0, takenOf(ARGV[3]), redis.call('HGET', accountKey(ARGV[3]), 'version') or '0' }
