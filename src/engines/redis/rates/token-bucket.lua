-- Decides by a token bucket.
-- KEYS    each the key's state: an instant, the tokens at it. Written only when tokens are taken, so that rounding does not add up on refusals.
-- ARGV    rate per second · burst · tokens
-- Answers as decision.part.lua says, in whole tokens

-- include: decision.part.lua
-- include: pair.part.lua

local per_ms, burst = tonumber(ARGV[1]) / 1000, tonumber(ARGV[2])

local function full(left)
  return now + math.ceil((burst - left) / per_ms)
end

for i = 1, #KEYS do
  local key, count = KEYS[i], units(2, i)
  local at, tokens = load(key)
  if not at then at, tokens = now, burst end
  -- An instant that is still to come was written before the clock was set back; it counts as now.
  tokens = math.min(burst, tokens + math.max(0, now - at) * per_ms)
  if tokens < count - tolerance then
    if at > now then save(key, tokens, full(tokens)) end
    refused(whole(tokens), (count - tokens - tolerance / 2) / per_ms)
  else
    local left = tokens - count
    save(key, left, full(left))
    allowed(whole(left))
  end
end
return answers
