-- Decides by a sliding window that is counted in parts.
-- KEYS    each what was taken, with the numbers of parts since the epoch as instants
-- ARGV    limit · window in ms · '1' when refusals count · how many parts a window has · units
-- Answers as decision.part.lua says

-- include: decision.part.lua
-- include: log.part.lua

local limit, window, counts = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3] == '1'
local cells = tonumber(ARGV[4])
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

-- All parts that count, and the last item; more are read in two steps.
local items = math.min(2 * cells + 4, 64)

for i = 1, #KEYS do
  local count = units(4, i)
  open(KEYS[i], current, is_out, items)
  local fits = counted + count <= limit
  if fits or counts then add(current, count) end
  leave(ends(newest))
  if fits then
    allowed(limit - counted)
  else
    refused(limit - counted, ends(last_out(limit - count)) - now)
  end
end
return answers
