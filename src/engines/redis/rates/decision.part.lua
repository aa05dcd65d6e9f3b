-- Decisions by this server's clock, in whole milliseconds: one for each of KEYS, in their order. What a key has lies under it alone, and ends by itself.
-- ARGV ends with the units that each key is asked for, or with one figure for all.
local call = redis.call
local time = call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

-- Instants further away than numbers are exact.
local forever = 9007199254740991

local function instant(at)
  return math.max(now + 1, math.min(at, forever))
end

-- What the i-th key is asked for; so many arguments stand before.
local function units(before, i)
  return tonumber(ARGV[before + i] or ARGV[before + 1])
end

-- One after the other: 1 when allowed or 0, after how many ms it succeeds, units that are left.
local answers, answered = {}, 0

local function answer(verdict, retry_after, remaining)
  answers[answered + 1], answers[answered + 2], answers[answered + 3] = verdict, retry_after, remaining
  answered = answered + 3
  return answers
end

local function allowed(remaining)
  return answer(1, 0, remaining)
end

local function refused(remaining, retry_after)
  return answer(0, math.max(1, math.min(math.ceil(retry_after), forever)), math.max(0, remaining))
end
