-- What the operations on meters have in common. It is put in front of each script named meters-…, and of those named callers-… and
-- pools-…, because a slot and what it takes of a rate are taken together.
--
-- A meter holds a minute's worth and refills evenly. One that nobody touches until it is full need not be remembered.
--
-- KEYS[1]  hg:{OWNER}, from which these are named:
--   :meter:NAME  hash   level (below zero when more was used than was asked for), at (when that was so)
--
-- Meters are asked for as JSON, [[name, what it holds, how much to take], …], or as nothing when there are none.

local minuteMs = 60000

local function metersIn(json)
  local meters = json ~= '' and cjson.decode(json) or {}
  for i, meter in ipairs(meters) do
    meters[i] = { name = meter[1], key = KEYS[1] .. ':meter:' .. meter[1], perMinute = meter[2], amount = meter[3] }
  end
  return meters
end

-- Notes when it was so, for what is written next.
local function levelOf(meter, nowMs)
  local state = redis.call('HMGET', meter.key, 'level', 'at')
  -- A node whose clock is behind by a little takes nothing away.
  meter.atMs = math.max(nowMs, tonumber(state[2] or '0'))
  if not state[1] then return meter.perMinute end
  local passedMs = math.max(0, nowMs - tonumber(state[2]))
  return math.min(meter.perMinute, tonumber(state[1]) + passedMs * meter.perMinute / minuteMs)
end

local function setLevel(meter, level)
  redis.call('HSET', meter.key, 'level', string.format('%.17g', level), 'at', string.format('%.17g', meter.atMs))
  redis.call('PEXPIRE', meter.key, math.ceil((meter.perMinute - level) / meter.perMinute * minuteMs) + minuteMs)
end

-- Takes from every meter, or from none. Returns nothing, or the name of the fullest and in how many milliseconds it has room.
local function spend(json, nowMs)
  local meters, fullest, longestMs = metersIn(json), nil, 0
  for _, meter in ipairs(meters) do
    meter.level = levelOf(meter, nowMs)
    -- One call may be larger than a whole minute's worth: it needs a full meter, and leaves a debt.
    local missing = math.min(meter.amount, meter.perMinute) - meter.level
    local afterMs = math.ceil(missing * minuteMs / meter.perMinute)
    if missing > 0 and afterMs > longestMs then fullest, longestMs = meter.name, afterMs end
  end
  if fullest then return { fullest, longestMs } end
  for _, meter in ipairs(meters) do setLevel(meter, meter.level - meter.amount) end
end

-- Without a limit; below zero gives back.
local function correct(json, nowMs)
  for _, meter in ipairs(metersIn(json)) do
    setLevel(meter, math.min(meter.perMinute, levelOf(meter, nowMs) - meter.amount))
  end
end
