-- Decides by a log of everything that was taken.
-- KEYS    each what was taken, with milliseconds since the epoch as instants
-- ARGV    limit · window in ms · '1' when refusals count · units
-- Answers as decision.part.lua says

-- include: decision.part.lua
-- include: log.part.lua

local limit, window, counts = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3] == '1'

local function is_out(at)
  return at + window <= now
end

for i = 1, #KEYS do
  local count = units(3, i)
  open(KEYS[i], now, is_out, 8)
  local fits = counted + count <= limit
  if fits or counts then add(now, count) end
  if counts and not fits then
    -- Whoever is beyond the limit stays there without the oldest, too.
    drop_while(function(_, taken)
      return counted - taken >= limit
    end)
  end
  leave(newest + window)
  if fits then
    allowed(limit - counted)
  else
    refused(limit - counted, last_out(limit - count) + window - now)
  end
end
return answers
