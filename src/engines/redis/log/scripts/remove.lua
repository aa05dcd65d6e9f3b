-- Removes a log. What is kept of its producers ends by itself.
-- Answers its incarnation, or {'gone'}.

-- include: log.part.lua

local log = openLog()
if not log then
  return { 'gone' }
end
call('DEL', base)
call('UNLINK', log.key .. ':p', log.key .. ':r', log.key .. ':w')
for number = 0, log.partitions - 1 do
  call('UNLINK', log.key .. ':s' .. number)
end
call('PUBLISH', base .. ':w', '-')
return { tonumber(log.incarnation) }
