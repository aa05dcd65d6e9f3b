-- Decides by a fixed window.
-- KEYS[1] the key's state: the instant of the last change, the units used in its window
-- ARGV    limit · window in ms · '1' when refusals count · units
-- Answers {1 when allowed or 0, after how many ms it succeeds, units that are left}

-- include: decision.part.lua
-- include: pair.part.lua

local limit, window, counts, count = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3] == '1', tonumber(ARGV[4])
local start = math.floor(now / window) * window
local ends = start + window
local at, used = load()
-- An instant that is still to come was written before the clock was set back; it counts as now.
if not at or at < start then at, used = now, 0 end
local fits = used + count <= limit
local after = used
if fits or counts then after = math.max(used, math.min(limit, used + count)) end
if after ~= used or at > now then save(after, ends) end
if fits then return allowed(limit - after) end
return refused(limit - after, ends - now)
