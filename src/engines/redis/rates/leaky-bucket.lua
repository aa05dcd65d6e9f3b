-- Decides by a leaky bucket.
-- KEYS[1] the key's state: an instant, how many units there were at it whose successor could not leave yet
-- ARGV    rate per second · how many wait at most · units
-- Answers {1 when allowed or 0, after how many ms it succeeds, units that there is room for, after how many ms it may go on, in digits}

-- include: decision.part.lua
-- include: pair.part.lua

local per_ms, queue_max, count = tonumber(ARGV[1]) / 1000, tonumber(ARGV[2]), tonumber(ARGV[3])
local at, queued = load()
if not at then at, queued = now, 0 end
-- An instant that is still to come was written before the clock was set back; it counts as now.
queued = math.max(0, queued - math.max(0, now - at) * per_ms)

local function empty(units)
  return now + math.ceil(units / per_ms)
end

local excess = queued + count - 1 - queue_max
if excess > tolerance then
  if at > now then save(queued, empty(queued)) end
  return refused(whole(queue_max + 1 - queued), (excess - tolerance / 2) / per_ms)
end
local after = queued + count
save(after, empty(after))
local answer = allowed(whole(queue_max + 1 - after))
answer[4] = string.format('%.17g', math.max(0, math.min((after - 1) / per_ms, forever)))
return answer
