-- Fences every earlier epoch of a writer in one log; or only looks whether there is such a log.
-- ARGV: writer · epoch, or '' to look.
-- Answers {}, or {'gone'}.

-- include: log.part.lua

local log = openLog()
if not log then
  return { 'gone' }
end
local field = 'e:' .. ARGV[1]
local epoch = tonumber(ARGV[2])
if epoch and epoch > (tonumber(call('HGET', log.key .. ':w', field)) or 0) then
  call('HSET', log.key .. ':w', field, ARGV[2])
end
return {}
