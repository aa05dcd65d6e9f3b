-- Decides by a leaky bucket.
-- KEYS    each the key's state: an instant, how many units there were at it whose successor could not leave yet
-- ARGV    rate per second · how many wait at most · units
-- Answers as decision.part.lua says, in units that there is room for; each answer ends with the ms after which it may go on, in digits

-- include: decision.part.lua
-- include: pair.part.lua

local per_ms, queue_max = tonumber(ARGV[1]) / 1000, tonumber(ARGV[2])

local function empty(queued)
  return now + math.ceil(queued / per_ms)
end

local function may_go_on(after_ms)
  answered = answered + 1
  answers[answered] = after_ms > 0 and string.format('%.17g', math.min(after_ms, forever)) or '0'
end

for i = 1, #KEYS do
  local key, count = KEYS[i], units(2, i)
  local at, queued = load(key)
  if not at then at, queued = now, 0 end
  -- An instant that is still to come was written before the clock was set back; it counts as now.
  queued = math.max(0, queued - math.max(0, now - at) * per_ms)
  local excess = queued + count - 1 - queue_max
  if excess > tolerance then
    if at > now then save(key, queued, empty(queued)) end
    refused(whole(queue_max + 1 - queued), (excess - tolerance / 2) / per_ms)
    may_go_on(0)
  else
    local after = queued + count
    save(key, after, empty(after))
    allowed(whole(queue_max + 1 - after))
    may_go_on((after - 1) / per_ms)
  end
end
return answers
