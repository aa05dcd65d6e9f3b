-- Decisions by this server's clock, in whole milliseconds. What a key has lies in KEYS[1] alone, and ends by itself.
local call = redis.call
local time = call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

-- Instants further away than numbers are exact.
local forever = 9007199254740991

local function instant(at)
  return string.format('%.0f', math.max(now + 1, math.min(at, forever)))
end

local function allowed(remaining)
  return { 1, 0, remaining }
end

local function refused(remaining, retry_after)
  return { 0, math.max(1, math.min(math.ceil(retry_after), forever)), math.max(0, remaining) }
end
