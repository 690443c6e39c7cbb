-- Takes a slot of an account and what the call takes of its rates now, or neither.
--
-- KEYS[1]  hg:{pools}
-- ARGV     slot, generation, account, the account's slots, now, the account's meters
-- Returns  1 or 0, how many are taken, the version of the account's condition; and when only the rates had no room, the name of the
--          fullest meter, and in how many milliseconds it has room

local nowMs = tonumber(ARGV[5])
note(ARGV[3], tonumber(ARGV[4]), nowMs)
local free = isFree(ARGV[3])
local over = free and spend(ARGV[6], nowMs)
local isTaken = free and not over
if isTaken then take(ARGV[3], ARGV[1], ARGV[2], nowMs) end
local version = redis.call('HGET', accountKey(ARGV[3]), 'version') or '0'
return { isTaken and 1 or 0, takenOf(ARGV[3]), version, unpack(over or {}) }
