-- Decides by a log of everything that was taken.
-- KEYS[1] what was taken, with milliseconds since the epoch as instants
-- ARGV    limit · window in ms · '1' when refusals count · units
-- Answers {1 when allowed or 0, after how many ms it succeeds, units that are left}

-- include: decision.part.lua
-- include: log.part.lua

local limit, window, counts, count = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3] == '1', tonumber(ARGV[4])

local function is_out(at)
  return at + window <= now
end

local set_back = open(now, is_out)
local fits = counted + count <= limit
if fits or counts then add(now, count) end
if counts and not fits then
  -- Whoever is beyond the limit stays there without the oldest, too.
  drop_while(function(_, units)
    return counted - units >= limit
  end)
end
if fits or counts or set_back then call('PEXPIREAT', KEYS[1], instant(newest + window)) end
if fits then return allowed(limit - counted) end
return refused(limit - counted, last_out(limit - count) + window - now)
