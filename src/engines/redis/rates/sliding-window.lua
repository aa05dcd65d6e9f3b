-- Decides by a sliding window that is counted in parts.
-- KEYS[1] what was taken, with the numbers of parts since the epoch as instants
-- ARGV    limit · window in ms · '1' when refusals count · units · how many parts a window has
-- Answers {1 when allowed or 0, after how many ms it succeeds, units that are left}

-- include: decision.part.lua
-- include: log.part.lua

local limit, window, counts, count = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3] == '1', tonumber(ARGV[4])
local cells = tonumber(ARGV[5])
-- Both factors are whole, so that no part's edge is moved by rounding.
local current = math.floor(now * cells / window)

-- The window reaches into its oldest part for as long as that lies within it at all, so these and the current one count.
local function is_out(part)
  return part < current - cells
end

-- The first whole millisecond at which the part does not count any more.
local function ends(part)
  return math.ceil((part + cells + 1) * window / cells)
end

local set_back = open(current, is_out)
local fits = counted + count <= limit
if fits or counts then add(current, count) end
if fits or counts or set_back then call('PEXPIREAT', KEYS[1], instant(ends(newest))) end
if fits then return allowed(limit - counted) end
return refused(limit - counted, ends(last_out(limit - count)) - now)
