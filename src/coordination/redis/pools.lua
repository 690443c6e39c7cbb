-- What the operations on accounts and on the pools' lines have in common. It is put in front of each script named pools-…, behind
-- meters.lua.
--
-- Pools share accounts and a waiting call may use several, so all of it is decided in one place.
--
-- KEYS[1]  hg:{pools}, from which these are named:
--   :run:ACCOUNT      hash   slot → generation, and behind it "NAME MS" when the account's rates had no room: what runs, or is
--                            about to be given back
--   :account:ACCOUNT  hash   condition (JSON), version, rest (until, milliseconds since 1970), out (1: out of quota, or behind
--                            an open circuit), slots (the newest limit anybody named), used (when a slot was last taken)
--   :wanted           hash   account → how many wait who may use it
--   :pools            zset   pool by its turn
--   :users:POOL       zset   user by their turn
--   :line:POOL:USER   zset   slot by its place
--   :entry:SLOT       hash   generation, pool, user, only, accounts (",A,B,"), and meters:ACCOUNT, what the call takes of its rates
--   :waiting          hash   pool → how many wait
--   :bound            hash   name → how many wait for one account by a binding
--   :turn             counter

local root = KEYS[1]

local function accountKey(account)
  return root .. ':account:' .. account
end

local function lineKey(pool, user)
  return root .. ':line:' .. pool .. ':' .. user
end

local function countIn(hash, field)
  return tonumber(redis.call('HGET', root .. hash, field) or '0')
end

local function count(hash, field, by)
  if redis.call('HINCRBY', root .. hash, field, by) <= 0 then redis.call('HDEL', root .. hash, field) end
end

local function nextTurn()
  return redis.call('INCR', root .. ':turn')
end

local function takenOf(account)
  return redis.call('HLEN', root .. ':run:' .. account)
end

local function isFree(account)
  local slots = tonumber(redis.call('HGET', accountKey(account), 'slots') or '0')
  return slots <= 0 or takenOf(account) < slots
end

local function isAwake(account, nowMs)
  local state = redis.call('HMGET', accountKey(account), 'rest', 'out')
  return tonumber(state[1] or '0') <= nowMs and state[2] ~= '1'
end

-- `over` is what its rates said, if they have no room.
local function take(account, slot, generation, nowMs, over)
  redis.call('HSET', root .. ':run:' .. account, slot, generation .. (over and ' ' .. over[1] .. ' ' .. over[2] or ''))
  redis.call('HSET', accountKey(account), 'used', nowMs)
end

local function accountsIn(list)
  return string.gmatch(list, '[^,]+')
end

local function join(slot, entry)
  local turn = nextTurn()
  redis.call('HSET', root .. ':entry:' .. slot, 'generation', entry.generation, 'pool', entry.pool, 'user', entry.user,
    'only', entry.only, 'accounts', entry.accounts)
  for account, meters in pairs(entry.meters) do redis.call('HSET', root .. ':entry:' .. slot, 'meters:' .. account, meters) end
  redis.call('ZADD', lineKey(entry.pool, entry.user), turn, slot)
  redis.call('ZADD', root .. ':users:' .. entry.pool, 'NX', turn, entry.user)
  redis.call('ZADD', root .. ':pools', 'NX', turn, entry.pool)
  count(':waiting', entry.pool, 1)
  if entry.only ~= '' then count(':bound', entry.only, 1) end
  for account in accountsIn(entry.accounts) do count(':wanted', account, 1) end
end

-- The entry as it was, or nil.
local function leaveLine(slot)
  local found = redis.call('HMGET', root .. ':entry:' .. slot, 'generation', 'pool', 'user', 'only', 'accounts')
  if not found[1] then return nil end
  local entry = { generation = found[1], pool = found[2], user = found[3], only = found[4], accounts = found[5] }
  redis.call('DEL', root .. ':entry:' .. slot)
  redis.call('ZREM', lineKey(entry.pool, entry.user), slot)
  count(':waiting', entry.pool, -1)
  if entry.only ~= '' then count(':bound', entry.only, -1) end
  for account in accountsIn(entry.accounts) do count(':wanted', account, -1) end
  if redis.call('ZCARD', lineKey(entry.pool, entry.user)) == 0 then redis.call('ZREM', root .. ':users:' .. entry.pool, entry.user) end
  if countIn(':waiting', entry.pool) == 0 then redis.call('ZREM', root .. ':pools', entry.pool) end
  return entry
end

-- The oldest of this user's who may use the account, or nil.
local function eligible(pool, user, account)
  for _, slot in ipairs(redis.call('ZRANGE', lineKey(pool, user), 0, -1)) do
    local accounts = redis.call('HGET', root .. ':entry:' .. slot, 'accounts')
    if string.find(accounts, ',' .. account .. ',', 1, true) then return slot end
  end
end

-- The user's next turn comes after everybody else's, and so does the pool's. Who is over the account's rates has the slot until they
-- have heard of it, so that what became of them can be asked.
local function grant(account, slot, nowMs)
  local meters = redis.call('HGET', root .. ':entry:' .. slot, 'meters:' .. account) or ''
  local entry, over = leaveLine(slot), spend(meters, nowMs)
  take(account, slot, entry.generation, nowMs, over)
  redis.call('ZADD', root .. ':users:' .. entry.pool, 'XX', nextTurn(), entry.user)
  redis.call('ZADD', root .. ':pools', 'XX', nextTurn(), entry.pool)
  redis.call('PUBLISH', 'hg:to:' .. string.match(slot, '^[^:]+'),
    'account ' .. slot .. ' ' .. account .. (over and ' ' .. over[1] .. ' ' .. over[2] or ''))
end

local function grantNext(account, nowMs)
  for _, pool in ipairs(redis.call('ZRANGE', root .. ':pools', 0, -1)) do
    for _, user in ipairs(redis.call('ZRANGE', root .. ':users:' .. pool, 0, -1)) do
      local slot = eligible(pool, user, account)
      if slot then
        grant(account, slot, nowMs)
        return true
      end
    end
  end
  return false
end

-- Hands the account's free slots to those in line, a user's turn at a time, a pool's turn at a time.
local function advance(account, nowMs)
  while countIn(':wanted', account) > 0 and isFree(account) and isAwake(account, nowMs) do
    if not grantNext(account, nowMs) then return end
  end
end

-- Whoever names an account says how many slots it has now.
local function note(account, slots, nowMs)
  local before = tonumber(redis.call('HGET', accountKey(account), 'slots') or '0')
  if slots == before then return end
  redis.call('HSET', accountKey(account), 'slots', slots)
  if before > 0 and (slots <= 0 or slots > before) then advance(account, nowMs) end
end

-- When the first rest of any of these accounts ends, or 0.
local function wakesAt(list, nowMs)
  local first = 0
  for account in accountsIn(list) do
    local rest = tonumber(redis.call('HGET', accountKey(account), 'rest') or '0')
    if rest > nowMs and (first == 0 or rest < first) then first = rest end
  end
  return first
end
