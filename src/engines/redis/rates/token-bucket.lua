-- Decides by a token bucket.
-- KEYS[1] the key's state: an instant, the tokens at it. Written only when tokens are taken, so that rounding does not add up on refusals.
-- ARGV    rate per second · burst · tokens
-- Answers {1 when allowed or 0, after how many ms it succeeds, whole tokens that are left}

-- include: decision.part.lua
-- include: pair.part.lua

local per_ms, burst, count = tonumber(ARGV[1]) / 1000, tonumber(ARGV[2]), tonumber(ARGV[3])
local at, tokens = load()
if not at then at, tokens = now, burst end
-- An instant that is still to come was written before the clock was set back; it counts as now.
tokens = math.min(burst, tokens + math.max(0, now - at) * per_ms)

local function full(left)
  return now + math.ceil((burst - left) / per_ms)
end

if tokens < count - tolerance then
  if at > now then save(tokens, full(tokens)) end
  return refused(whole(tokens), (count - tokens - tolerance / 2) / per_ms)
end
local left = tokens - count
save(left, full(left))
return allowed(whole(left))
