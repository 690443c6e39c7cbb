-- Takes a slot of the first account that has one, or stands in the pool's line.
--
-- KEYS[1]  hg:{pools}
-- ARGV     slot, generation, now, pool, user, how many may wait in the pool, the name of a binding or nothing, how many may
--          wait by it, then for each account: account, its slots, its meters
-- Returns  taken and the account; or over, the account that has a slot, the name of its fullest meter, and in how many milliseconds
--          it has room; or full; or waiting and when the first rest of any of the accounts ends, 0 if none rests

local slot, nowMs = ARGV[1], tonumber(ARGV[3])
local entry = { generation = ARGV[2], pool = ARGV[4], user = ARGV[5], only = ARGV[7], accounts = ',', meters = {} }

for i = 9, #ARGV, 3 do
  local account, meters = ARGV[i], ARGV[i + 2]
  note(account, tonumber(ARGV[i + 1]), nowMs)
  if isFree(account) and isAwake(account, nowMs) then
    local over = spend(meters, nowMs)
    if over then return { 'over', account, over[1], tostring(over[2]) } end
    take(account, slot, entry.generation, nowMs)
    return { 'taken', account }
  end
  entry.accounts = entry.accounts .. account .. ','
  if meters ~= '' then entry.meters[account] = meters end
end
if countIn(':waiting', entry.pool) >= tonumber(ARGV[6]) then return { 'full' } end
if entry.only ~= '' and countIn(':bound', entry.only) >= tonumber(ARGV[8]) then return { 'full' } end

join(slot, entry)
return { 'waiting', tostring(wakesAt(entry.accounts, nowMs)) }
