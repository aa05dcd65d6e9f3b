-- Decides by a fixed window.
-- KEYS    each the units that were used in its window, in digits; it ends with the window
-- ARGV    limit · window in ms · '1' when refusals count · units
-- Answers as decision.part.lua says

-- include: decision.part.lua

local limit, window, counts = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3] == '1'
for i = 1, #KEYS do
  local key, count = KEYS[i], units(3, i)
  local used = tonumber(call('GET', key))
  local lasts = used and call('PTTL', key) or 0
  if lasts <= 0 then used = 0 end
  local fits = used + count <= limit
  local after = used
  if fits or counts then after = math.max(used, math.min(limit, used + count)) end
  if lasts <= 0 or lasts > window then
    -- What lasts longer than a window was written before the clock was set back; it counts as now.
    local ends = math.floor(now / window) * window + window
    call('SET', key, after, 'PXAT', instant(ends))
    lasts = ends - now
  elseif after > used then
    call('INCRBY', key, after - used)
  end
  if fits then allowed(limit - after) else refused(limit - after, lasts) end
end
return answers
